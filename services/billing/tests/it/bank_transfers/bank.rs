//! A desk that takes declarations and statements of a bank, and what its statements say.

use std::{io::Write, sync::Arc};

use billing::{bank_desk::BankDesk, grpc::BankHandlers};
use prost_types::Timestamp;
use sqlx::PgPool;
use tonic::{Request, Status};
use wanwu_access::{Caller, Subject};
use wanwu_clock::{Clock, SystemEntropy};
use wanwu_ids::AccountId;
use wanwu_personal::KeyProvider;
use wanwu_proto::billing::v1::{
    BankLine, BankStatementFormat, BankTransfer, BankTransferState, DeclareBankTransferRequest,
    ImportBankStatementRequest, ImportBankStatementResponse, ListBankTransfersRequest,
    ListUnmatchedBankLinesRequest, MatchBankLineRequest,
    bank_transfer_service_server::BankTransferService,
};

use crate::world::{World, YUAN, nanos};

const HEAD: &str = "serial,booked_at,amount,direction,account,remark,reverses\n";
pub const NUMBER: &str = "6222 0212 3456 7890";

pub struct Bank {
    pub world: World,
    pub api: BankHandlers,
}

impl Bank {
    pub async fn new(pool: PgPool) -> Self {
        let world = World::new(pool).await;
        let keys = KeyProvider::from_json(
            r#"{"active":"k1","keys":{"k1":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="}}"#,
        );
        let desk = BankDesk::new(
            Arc::clone(world.app()),
            world.pool.clone(),
            Arc::new(keys.unwrap()),
            Arc::new(SystemEntropy::default()),
        );
        let api = BankHandlers(Arc::new(desk));
        Self { world, api }
    }

    pub fn request(&self, yuan: i64) -> DeclareBankTransferRequest {
        DeclareBankTransferRequest {
            request_id: self.world.ids.id::<()>().to_string(),
            bank_name: "中国工商银行".to_owned(),
            account_number: NUMBER.to_owned(),
            account_name: "北京某某科技有限公司".to_owned(),
            amount: Some(billing::domain::money::to_wire(yuan * YUAN)),
            transfer_time: Some(Timestamp {
                seconds: self.world.clock.now().timestamp(),
                nanos: 0,
            }),
        }
    }

    pub async fn send(
        &self,
        account: AccountId,
        request: &DeclareBankTransferRequest,
    ) -> Result<BankTransfer, Status> {
        let request = self.world.by(account, request.clone());
        let answer = self.api.declare_bank_transfer(request).await?;
        Ok(answer.into_inner().bank_transfer.unwrap())
    }

    pub async fn declare(&self, account: AccountId, yuan: i64) -> BankTransfer {
        self.send(account, &self.request(yuan)).await.unwrap()
    }

    pub async fn import(&self, lines: &[String]) -> Result<ImportBankStatementResponse, Status> {
        let mut content = HEAD.as_bytes().to_vec();
        for line in lines {
            writeln!(content, "{line}").unwrap();
        }
        let request = Request::new(ImportBankStatementRequest {
            format: BankStatementFormat::Csv.into(),
            content,
        });
        Ok(self.api.import_bank_statement(request).await?.into_inner())
    }

    /// A line of money that came, as the bank writes it.
    pub fn line(&self, serial: &str, yuan: i64, account: &str, remark: &str) -> String {
        let at = self.world.clock.now().to_rfc3339();
        format!("{serial},{at},{yuan}.00,credit,{account},{remark},")
    }

    pub fn reversal(&self, serial: &str, yuan: i64, of: &str) -> String {
        let at = self.world.clock.now().to_rfc3339();
        format!("{serial},{at},{yuan}.00,debit,,,{of}")
    }

    /// State and credited yuan of the newest declaration.
    pub async fn newest(&self, account: AccountId) -> (BankTransferState, i64) {
        let request = self.world.by(account, ListBankTransfersRequest::default());
        let answer = self.api.list_bank_transfers(request).await.unwrap();
        let newest = answer.into_inner().bank_transfers.remove(0);
        assert_eq!(newest.masked_account_number, "****7890");
        (newest.state(), nanos(newest.credited) / YUAN)
    }

    pub async fn unmatched(&self) -> Vec<BankLine> {
        let request = Request::new(ListUnmatchedBankLinesRequest::default());
        let answer = self.api.list_unmatched_bank_lines(request).await.unwrap();
        answer.into_inner().lines
    }

    pub async fn match_line(
        &self,
        line: &BankLine,
        transfer: &BankTransfer,
    ) -> Result<BankTransfer, Status> {
        let mut request = Request::new(MatchBankLineRequest {
            bank_line_id: line.bank_line_id.clone(),
            bank_transfer_id: transfer.bank_transfer_id.clone(),
        });
        request.extensions_mut().insert(Caller {
            subject: Subject::Operator {
                operator_id: self.world.ids.id(),
                session_id: self.world.ids.id(),
                roles: Vec::new(),
            },
            request_id: "r".to_owned(),
            mainland: true,
            address_key: String::new(),
        });
        let answer = self.api.match_bank_line(request).await?;
        Ok(answer.into_inner().bank_transfer.unwrap())
    }

    /// What an account of the ledger that is nobody's holds, in yuan.
    pub async fn holds(&self, kind: &str) -> i64 {
        let sum: Option<i64> = sqlx::query_scalar(
            "select sum(balance_nanos)::bigint from ledger_accounts where kind = $1",
        )
        .bind(kind)
        .fetch_one(&self.world.pool)
        .await
        .unwrap();
        sum.unwrap_or_default() / YUAN
    }
}
