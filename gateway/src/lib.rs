//! Talks to clients: HTTP, WebSocket, SSE. Knows neither workflows nor RocksDB nor which partition.

pub mod backend;
