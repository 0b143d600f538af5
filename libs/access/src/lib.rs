//! wanwu-access
