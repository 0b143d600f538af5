//! wanwu-telemetry
