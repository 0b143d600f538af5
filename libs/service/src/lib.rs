//! wanwu-service
