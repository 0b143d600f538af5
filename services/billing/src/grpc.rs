//! The services of the contract: parse, command, reply.

mod after_sales;
mod balance;
mod bank_transfers;
mod brand;
mod budgets;
mod callbacks;
mod credit_limits;
mod invoices;
mod leases;
mod money;
mod orders;
mod packages;
mod prices;
mod products;
mod reconciliation;
mod refunds;
mod statements;
mod terminations;
mod usage;

use std::{str::FromStr, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};
use wanwu_postgres::page::PageRequest;

pub use after_sales::AfterSalesHandlers;
pub use bank_transfers::BankHandlers;
pub use brand::BrandHandlers;
pub use invoices::InvoiceHandlers;
pub use products::ProductHandlers;
use refunds::case_id;
pub use statements::StatementHandlers;

use crate::{app::App, error::Error};

/// Answers every service of billing.
#[derive(Clone)]
pub struct Handlers(pub Arc<App>);

fn id<T: FromStr>(field: &'static str, text: &str) -> Result<T, Error> {
    text.parse()
        .map_err(|_| Error::invalid(field, "is not a UUID"))
}

fn page<K: Serialize + DeserializeOwned>(size: i32, token: &str) -> Result<PageRequest<K>, Error> {
    PageRequest::parse(size, token)
        .map_err(|error| Error::invalid(error.field(), error.to_string()))
}
