//! wanwu-events
