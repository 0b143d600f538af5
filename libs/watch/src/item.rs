use wanwu_proto::{
    device::v1::DeviceGate,
    identity::v1::{Grant, Standing},
    privacy::v1::PrivacyGate,
    verification::v1::RealNameGate,
};

/// A value that is watched.
pub trait Item: Clone + Send + Sync + 'static {
    /// What it is the value of. An empty key says: everything may have changed, ask again.
    fn key(&self) -> &str;

    /// Of two values of one key the one with the higher version is the later.
    fn version(&self) -> u64;
}

macro_rules! items {
    ($($item:ty: $key:ident;)*) => {$(
        impl Item for $item {
            fn key(&self) -> &str {
                &self.$key
            }

            fn version(&self) -> u64 {
                self.version
            }
        }
    )*};
}

items! {
    DeviceGate: gate_id;
    Grant: credential_id;
    PrivacyGate: account_id;
    RealNameGate: account_id;
    Standing: account_id;
}
