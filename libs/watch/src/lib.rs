//! wanwu-watch
