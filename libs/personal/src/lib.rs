//! Personal data: wrappers that cannot be printed, logged or serialised by accident, encryption
//! with a key for each person, and blind indexes.

mod bank_account;
mod blind_index;
mod code_table;
mod delivery;
mod device;
mod envelope;
mod keys;
mod person_name;
mod phone;
pub mod provider_code;
mod resident_id;
mod subject_keys;
mod text;
mod uscc;
mod wrapper;

pub use bank_account::{BankAccountName, BankAccountNumber, InvalidBankAccount};
pub use blind_index::{BlindIndex, IndexEntry};
pub use delivery::{EmailAddress, InvalidDelivery, PostalAddress, RecipientName};
pub use device::{DeviceIdentifier, DeviceIdentifierKind, InvalidDeviceIdentifier};
pub use envelope::{Aad, SealError, SubjectKey};
pub use keys::{KeyError, KeyProvider};
pub use person_name::{InvalidPersonName, PersonName};
pub use phone::{InvalidPhone, NUMBER_PLAN, Phone};
pub use resident_id::{InvalidResidentId, ResidentId};
pub use subject_keys::{SubjectKeyError, SubjectKeys};
pub use uscc::{InvalidUscc, Uscc};
pub use wrapper::{Class, Personal};

/// The table that this library needs, in the service's database or in one of its own.
pub const SCHEMA: &str = include_str!("../sql/subject_keys.sql");
