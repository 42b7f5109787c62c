//! The backend of a real node, asked from within.

use futures_util::poll;

use super::*;
use crate::config::Config;
use crate::node::Node;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_third_listing_waits_for_its_turn() {
    let folder = tempfile::tempdir().expect("a folder");
    let any = std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 0));
    let config = Config::for_dev(folder.path().join("data"), any).expect("a configuration");
    let node = Node::start(config).await.expect("it starts");
    let backend = node.backend().clone();
    let under_way = |count: u32| backend.listings.clone().try_acquire_many_owned(count).expect("nobody lists");
    let two = under_way(u32::try_from(limits::LISTINGS_AT_ONCE).expect("few"));
    let filter = ListRuns { limit: 10, ..ListRuns::default() };
    let mut third = std::pin::pin!(backend.runs(&TenantId::default(), filter));
    assert!(poll!(third.as_mut()).is_pending());
    // Whatever it had asked of a partition would be answered before what is asked now.
    for bits in 0..64 {
        let run = RunId::new(types::RoutingHash::from_bits(bits), 1);
        assert!(backend.run(&TenantId::default(), run).await.is_err(), "there is none");
    }
    assert!(poll!(third.as_mut()).is_pending());
    drop(two);
    assert_eq!(third.await.expect("its turn came").runs.len(), 0);
    drop(under_way(u32::try_from(limits::LISTINGS_AT_ONCE).expect("few")));
    node.stop().await.expect("it stops in order");
}
