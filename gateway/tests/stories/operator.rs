//! The admin port: what operators ask, and who may not.

use serde_json::json;

use crate::common::Server;
use crate::common::http::{get, post, request};

#[tokio::test]
async fn a_backup_is_asked_of_the_admin_port_only() {
    let server = Server::start().await;
    let body = json!({ "target": "/backups", "copy": true }).to_string();
    let asked = post(server.admin, "/v1/admin/backups", &body).await;
    assert_eq!(asked.status, 201);
    insta::assert_snapshot!(asked.text(), @r#"{"path":"/backups","made":1795493220000,"partitions":16,"positions":1000,"files":9,"bytes":123456,"copied_bytes":33000,"quarantined":0,"elapsed_ms":17}"#);
    assert_eq!(server.fake.calls(), ["back up to /backups copy=true"]);

    let elsewhere = post(server.address, "/v1/admin/backups", &body).await;
    assert_eq!(elsewhere.problem(), "not_found");
    assert_eq!(get(server.admin, "/v1/admin/nothing").await.problem(), "not_found");
}

#[tokio::test]
async fn what_a_web_page_could_send_by_itself_is_refused() {
    let server = Server::start().await;
    let body = json!({ "target": "/backups" }).to_string();
    let untyped = request(server.admin, "POST", "/v1/admin/backups", &[], body.as_bytes()).await;
    assert_eq!(untyped.problem(), "unsupported_media_type");
    let headers = [("content-type", "text/plain")];
    let text = request(server.admin, "POST", "/v1/admin/backups", &headers, body.as_bytes()).await;
    assert_eq!(text.problem(), "unsupported_media_type");
    assert_eq!(server.fake.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn a_mistake_and_a_refusal_are_problems() {
    let server = Server::start().await;
    let odd = post(server.admin, "/v1/admin/backups", r#"{"target":"/x","fast":true}"#).await;
    assert_eq!(odd.problem(), "bad_request");
    let busy = post(server.admin, "/v1/admin/backups", r#"{"target":"/busy"}"#).await;
    assert_eq!(busy.problem(), "unavailable");
}

#[tokio::test]
async fn the_log_can_be_looked_at() {
    let server = Server::start().await;
    let load = get(server.admin, "/v1/admin/log/partitions?over_ms=60000").await;
    insta::assert_snapshot!(load.text(), @r#"{"until":1795493220000,"over_ms":60000,"partitions":[{"partition":0,"history":7,"start":0,"end":40,"recent":12,"recent_bytes":3000,"last":1795493220000}],"skew_percent":0.0,"skew_bytes_percent":0.0}"#);
    assert_eq!(get(server.admin, "/v1/admin/log/partitions?over=1").await.problem(), "bad_request");
    let asked = r#"{"partition":0,"from":3,"until":null,"max":10,"wanted":{"kinds":["event"]}}"#;
    let page = post(server.admin, "/v1/admin/log/records", asked).await;
    insta::assert_snapshot!(page.text(), @r#"{"records":[],"next":3,"done":true,"start":0}"#);
    let segments = get(server.admin, "/v1/admin/log/segments?partition=3").await;
    insta::assert_snapshot!(segments.text(), @r#"{"segments":[{"partition":3,"chain":"run","number":1,"state":"active","base":0,"next":40,"records":40,"blocks":9,"bytes":4000,"first":1795493220000,"last":1795493220000}]}"#);
    let stats = get(server.admin, "/v1/admin/log/stats").await;
    insta::assert_snapshot!(stats.text(), @r#"{"families":[],"wal_files":1,"wal_bytes":5000,"segments":2,"records":40,"block_bytes":4000,"written":{"block_bytes":4000,"disk_bytes":9000}}"#);
}
