//! wanwu-personal
