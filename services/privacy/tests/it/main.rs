//! Privacy on a real PostgreSQL.

mod agreements;
mod consents;
mod gates;
mod world;
