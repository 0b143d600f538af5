//! What verification does: one use case a file.

mod ask_agency;
mod band_again;
mod submit_real_name;

pub use submit_real_name::SubmitRealName;
