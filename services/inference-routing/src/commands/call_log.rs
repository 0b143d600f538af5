//! The call log of an account.

use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use uuid::Uuid;
use wanwu_ids::{AccountId, CallId};
use wanwu_postgres::page::{Page, PageRequest};

use crate::{
    error::Error,
    store::call_log::{self, LoggedCall},
};

/// Where a page of calls ends.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct After(Uuid);

/// Reads a call of this account.
pub async fn get_call(pool: &PgPool, account: AccountId, id: &str) -> Result<LoggedCall, Error> {
    let call: CallId = id.parse().map_err(|_| Error::InvalidArgument {
        field: "call_id",
        problem: "is not a UUID".to_owned(),
    })?;
    call_log::find(pool, account, call)
        .await?
        .ok_or(Error::NotFound)
}

/// Lists the calls of this account, newest first.
pub async fn list_calls(
    pool: &PgPool,
    account: AccountId,
    page_size: i32,
    page_token: &str,
) -> Result<Page<LoggedCall>, Error> {
    let request = PageRequest::<After>::parse(page_size, page_token).map_err(|error| {
        Error::InvalidArgument {
            field: error.field(),
            problem: error.to_string(),
        }
    })?;
    let after = request.after.map(|After(call)| call);
    let rows = call_log::list(pool, account, after, request.limit()).await?;
    Ok(request.page(rows, |row| After(row.call_id.uuid())))
}
