//! The outside.

pub mod alibaba_sms;
