use chrono::{DateTime, Utc};
use uuid::Uuid;
use wanwu_ids::{AccountId, RequestId};
use wanwu_personal::{Aad, BankAccountName, BankAccountNumber};
use wanwu_postgres::requests::{self, BodyMac, Claim, RequestKey};

use super::BankDesk;
use crate::{
    domain::{bank_statement::reference, purchase::Buyer},
    error::Error,
    store::bank_transfers::{self, BankTransfer, Secrets},
};

const TABLE: &str = "bank_transfers";

/// A customer says which transfer will come (obligation P2.1.1e.1).
pub struct Declare {
    /// Who.
    pub account_id: AccountId,
    /// Names the request, for ever.
    pub request_id: RequestId,
    /// Proves that a repeated request is the same.
    pub body: BodyMac,
    /// The sending bank.
    pub bank_name: String,
    /// The sending account.
    pub number: BankAccountNumber,
    /// Whose account it is.
    pub name: BankAccountName,
    /// In fen.
    pub amount_fen: i64,
    /// When it is sent.
    pub transfer_at: DateTime<Utc>,
    /// Who buys by it.
    pub buyer: Buyer,
}

impl BankDesk {
    /// Writes a declaration; nothing is credited by it. Whoever may not buy declares nothing.
    pub async fn declare(&self, command: Declare) -> Result<BankTransfer, Error> {
        let now = self.app.now();
        let id: Uuid = self.app.ids.id::<()>().uuid();
        let mut transfer = BankTransfer {
            bank_transfer_id: id,
            account_id: command.account_id,
            // The last 40 bits of the id are chance.
            reference: reference(id.as_u128() as u64),
            bank_name: command.bank_name.clone(),
            account_number_last4: command.number.last_four().to_owned(),
            amount_fen: command.amount_fen,
            credited_fen: 0,
            transfer_at: command.transfer_at,
            created_at: now,
            allowance_version: None,
        };
        let mut tx = self.app.pool.begin().await?;
        let caller = format!("account:{}", command.account_id);
        let key = RequestKey {
            method: "wanwu.billing.v1.BankTransferService/DeclareBankTransfer",
            caller: &caller,
            request_id: command.request_id.uuid(),
        };
        if let Claim::Repeated(made) =
            requests::claim(&mut tx, key, command.body, id, now, None).await?
        {
            let made = bank_transfers::lock(&mut tx, made).await?;
            return made.ok_or(Error::NotFound);
        }
        let amount_fen = command.amount_fen;
        transfer.allowance_version = self
            .app
            .may_buy(&mut tx, command.account_id, command.buyer, amount_fen)
            .await?;
        let secrets = self.seal(&mut tx, &command, id, now).await?;
        bank_transfers::insert(&mut tx, &transfer, &secrets).await?;
        wanwu_crash::point("bank_transfer.before_commit");
        tx.commit().await?;
        wanwu_crash::point("bank_transfer.committed");
        Ok(transfer)
    }

    async fn seal(
        &self,
        tx: &mut sqlx::PgConnection,
        command: &Declare,
        id: Uuid,
        now: DateTime<Utc>,
    ) -> Result<Secrets, Error> {
        let key = self.keys.key_in(tx, command.account_id.uuid(), now).await;
        let key = key.map_err(|error| Error::Personal(error.into()))?;
        let row = id.to_string();
        let seal = |column, text: &str| {
            let table = TABLE;
            let aad = Aad {
                table,
                column,
                row: &row,
            };
            key.seal(aad, text.as_bytes())
                .map_err(|error| Error::Personal(error.into()))
        };
        let number = command.number.expose();
        Ok(Secrets {
            number_sealed: seal("account_number", number)?,
            number_mac: self.index.entry(number).mac.to_vec(),
            name_sealed: seal("account_name", command.name.expose())?,
        })
    }
}
