//! The names by which client and node agree on what they speak.

/// The version in `hello.v`. It moves only when an old client could misread what a node says.
pub const VERSION: u32 = 1;

/// The subprotocol of JSON frames, one object a text message.
pub const SUBPROTOCOL_JSON: &str = "headwater.v1.json";

/// Where the socket is, below the node's address.
pub const SOCKET_PATH: &str = "/v1/ws";
