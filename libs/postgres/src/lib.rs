//! wanwu-postgres
