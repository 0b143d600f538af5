//! wanwu-testkit
