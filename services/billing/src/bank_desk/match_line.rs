use uuid::Uuid;
use wanwu_ids::OperatorId;

use super::BankDesk;
use crate::{
    error::Error,
    store::{
        bank_lines,
        bank_transfers::{self, BankTransfer},
    },
};

impl BankDesk {
    /// An operator says whose the rest of a line is: all of it is credited, also above what was
    /// declared.
    pub async fn match_line(
        &self,
        operator_id: OperatorId,
        bank_line_id: Uuid,
        bank_transfer_id: Uuid,
    ) -> Result<BankTransfer, Error> {
        let mut tx = self.app.pool.begin().await?;
        bank_lines::take_turn(&mut tx).await?;
        let line = bank_lines::lock(&mut tx, bank_line_id).await?;
        let line = line.ok_or(Error::NotFound)?;
        let transfer = bank_transfers::lock(&mut tx, bank_transfer_id).await?;
        let mut transfer = transfer.ok_or(Error::NotFound)?;
        let rest = line.amount_fen - line.matched_fen;
        if rest == 0 || line.reversed_at.is_some() || line.reverses.is_some() {
            return Err(Error::BankLineNotOpen);
        }
        let operator = Some(operator_id.uuid());
        self.credit(&mut tx, &line, &transfer, rest, operator)
            .await?;
        tx.commit().await?;
        self.app.freed.notify_waiters();
        transfer.credited_fen += rest;
        Ok(transfer)
    }
}
