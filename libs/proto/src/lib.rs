//! Generated bindings of the contracts in `proto/`, and their descriptors.
//!
//! The code under `gen/` is made by `cargo run -p wanwu-proto --example gen` and committed.
#![allow(
    clippy::all,
    clippy::too_many_lines,
    clippy::unwrap_used,
    rust_2018_idioms,
    reason = "generated code"
)]

/// Every contract and everything it imports, with options and without comments, as a
/// `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!("gen/descriptors.bin");

/// A method of a service of the contracts, as every process needs it.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// `/package.Service/Method`.
    pub path: &'static str,
    /// It answers with a stream.
    pub server_streaming: bool,
    /// Its `wanwu.access.v1.Rule`, encoded.
    pub rule: Option<&'static [u8]>,
}

/// A message that is an event.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// Its full name.
    pub name: &'static str,
    /// The services that consume it.
    pub consumers: &'static [&'static str],
}

pub use tables::{EVENTS, METHODS};

mod tables {
    use super::{Event, Method};

    include!("gen/tables.rs");
}

/// Types of other people's contracts.
pub mod google {
    /// `google.type`.
    pub mod r#type {
        include!("gen/google.r#type.rs");
    }
}

mod wanwu {
    pub mod access {
        pub mod v1 {
            include!("gen/wanwu.access.v1.rs");
        }
    }
    pub mod billing {
        pub mod v1 {
            include!("gen/wanwu.billing.v1.rs");
        }
    }
    pub mod device {
        pub mod v1 {
            include!("gen/wanwu.device.v1.rs");
        }
    }
    pub mod events {
        pub mod v1 {
            include!("gen/wanwu.events.v1.rs");
        }
    }
    pub mod identity {
        pub mod v1 {
            include!("gen/wanwu.identity.v1.rs");
        }
    }
    pub mod inference {
        pub mod v1 {
            include!("gen/wanwu.inference.v1.rs");
        }
    }
    pub mod operations {
        pub mod v1 {
            include!("gen/wanwu.operations.v1.rs");
        }
    }
    pub mod privacy {
        pub mod v1 {
            include!("gen/wanwu.privacy.v1.rs");
        }
    }
    pub mod verification {
        pub mod v1 {
            include!("gen/wanwu.verification.v1.rs");
        }
    }
}

pub use wanwu::{
    access, billing, device, events, identity, inference, operations, privacy, verification,
};
