//! wanwu-grpc
