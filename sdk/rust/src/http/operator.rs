//! What operators ask on a node's admin port. The answers are the node's own, as docs/operations.md lists them.

use std::time::Duration;

use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::Client;
use crate::error::Error;

impl Client {
    /// Asks something of a node whose admin port this client names. `path` is below `/v1/admin`.
    pub async fn inspect<T: DeserializeOwned>(&self, path: &[&str], query: &[(&str, String)]) -> Result<T, Error> {
        let mut url = self.endpoint.resource(["admin"].into_iter().chain(path.iter().copied()));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.answer(self.http.get(url).timeout(crate::limits::ANSWER_MS)).await?.json()
    }

    /// Has the node do something that may take as long as `patience`.
    pub async fn operate<T: DeserializeOwned>(
        &self,
        path: &[&str],
        request: &impl Serialize,
        patience: Duration,
    ) -> Result<T, Error> {
        let path = ["admin"].into_iter().chain(path.iter().copied());
        self.answer(self.ask(Method::POST, path).timeout(patience).json(request)).await?.json()
    }
}
