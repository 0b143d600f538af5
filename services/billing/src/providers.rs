//! The outside.

pub mod wechat_pay;
