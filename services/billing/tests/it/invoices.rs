use billing::grpc::InvoiceHandlers;
use sqlx::PgPool;
use tonic::{Code, Status};
use wanwu_ids::{AccountId, OperatorId};
use wanwu_proto::billing::v1::{
    ApproveRefundRequest, GetInvoiceBuyerRequest, Invoice, InvoiceBuyer, InvoiceKind, InvoiceState,
    IssueInvoiceRequest, ListInvoicesRequest, ListMoneyAccessesRequest, ListOpenInvoicesRequest,
    RefundReason, RequestInvoiceRequest, RequestRefundRequest, ReverseInvoiceRequest,
    WithdrawInvoiceRequest, invoice_service_server::InvoiceService,
    money_service_server::MoneyService, refund_service_server::RefundService,
};

use crate::world::{World, reason};

type Change = fn(&mut InvoiceBuyer);

const USCC: &str = "91110000600037341L";

struct Office {
    world: World,
    api: InvoiceHandlers,
    account: AccountId,
    order_id: String,
    finance: OperatorId,
}

impl Office {
    /// Somebody paid 10 yuan.
    async fn new(pool: PgPool) -> Self {
        let world = World::new(pool).await;
        let account = world.account();
        let (order, number) = world.order(account, 1000).await;
        assert_eq!(world.notify(world.wechat.pay(&number)).await, 204);
        let finance = world.ids.id();
        Self {
            api: InvoiceHandlers(world.order_desk()),
            world,
            account,
            order_id: order.order_id,
            finance,
        }
    }

    fn wanted(&self, kind: InvoiceKind, fen: i64) -> RequestInvoiceRequest {
        let mut buyer = InvoiceBuyer {
            title: "北京某某科技有限公司".to_owned(),
            email: "finance@example.cn".to_owned(),
            ..InvoiceBuyer::default()
        };
        if kind != InvoiceKind::GeneralPerson {
            buyer.uscc = USCC.to_owned();
        }
        if kind == InvoiceKind::Special {
            buyer.address = "北京市海淀区某路1号".to_owned();
            buyer.phone = "010-12345678".to_owned();
            buyer.bank_name = "中国工商银行海淀支行".to_owned();
            buyer.account_number = "0200 0012 3456 7890".to_owned();
        }
        RequestInvoiceRequest {
            request_id: self.world.ids.id::<()>().to_string(),
            order_id: self.order_id.clone(),
            kind: kind.into(),
            amount: World::fen(fen),
            buyer: Some(buyer),
        }
    }

    async fn request(&self, wanted: RequestInvoiceRequest) -> Result<Invoice, Status> {
        let request = self.world.by(self.account, wanted);
        let answer = self.api.request_invoice(request).await?;
        Ok(answer.into_inner().invoice.unwrap())
    }

    async fn issue(&self, invoice: &Invoice, number: &str) -> Result<Invoice, Status> {
        let request = IssueInvoiceRequest {
            invoice_id: invoice.invoice_id.clone(),
            number: number.to_owned(),
        };
        let request = self.world.by_operator(self.finance, request);
        let answer = self.api.issue_invoice(request).await?;
        Ok(answer.into_inner().invoice.unwrap())
    }

    async fn reverse(&self, invoice: &Invoice, red: &str) -> Result<Invoice, Status> {
        let request = ReverseInvoiceRequest {
            invoice_id: invoice.invoice_id.clone(),
            red_number: red.to_owned(),
        };
        let request = self.world.by_operator(self.finance, request);
        let answer = self.api.reverse_invoice(request).await?;
        Ok(answer.into_inner().invoice.unwrap())
    }

    async fn give_back(&self, fen: i64) {
        let world = &self.world;
        let wanted = RequestRefundRequest {
            request_id: world.ids.id::<()>().to_string(),
            order_id: self.order_id.clone(),
            amount: World::fen(fen),
            reason: RefundReason::PrepaidNotProvided.into(),
            case_id: "CASE-1".to_owned(),
            evidence_sha256: vec![1; 32],
            service_unusable: false,
        };
        let wanted = world.by_operator(world.ids.id(), wanted);
        let refund = world.api.request_refund(wanted).await.unwrap().into_inner();
        let refund_id = refund.refund.unwrap().refund_id;
        let approve = world.by_operator(self.finance, ApproveRefundRequest { refund_id });
        world.api.approve_refund(approve).await.unwrap();
    }

    async fn newest(&self) -> Vec<Invoice> {
        let request = self.world.by(self.account, ListInvoicesRequest::default());
        let answer = self.api.list_invoices(request).await.unwrap();
        answer.into_inner().invoices
    }
}

#[sqlx::test]
async fn a_paid_order_is_invoiced_once_and_never_for_more_than_was_paid(pool: PgPool) {
    let office = Office::new(pool).await;
    let wanted = office.wanted(InvoiceKind::GeneralEnterprise, 600);
    let first = office.request(wanted.clone()).await.unwrap();
    assert_eq!(office.request(wanted).await.unwrap(), first);
    let too_much = office.wanted(InvoiceKind::GeneralPerson, 401);
    assert_eq!(
        reason(&office.request(too_much).await.unwrap_err()),
        "INVOICE_TOO_LARGE"
    );
    // Eight at the same moment for what is left.
    let all = (0..8).map(|_| office.request(office.wanted(InvoiceKind::GeneralPerson, 400)));
    let all = futures::future::join_all(all).await;
    assert_eq!(all.iter().filter(|made| made.is_ok()).count(), 1);
    let issued = office.issue(&first, "24112000000012345678").await.unwrap();
    assert_eq!(issued.state(), InvoiceState::Issued);
    assert_eq!(
        reason(
            &office
                .issue(&first, "24112000000012345679")
                .await
                .unwrap_err()
        ),
        "INVOICE_STATE"
    );
    let second = all.into_iter().find_map(Result::ok).unwrap();
    let taken = office
        .issue(&second, "24112000000012345678")
        .await
        .unwrap_err();
    assert_eq!(taken.code(), Code::AlreadyExists);
    // What was withdrawn can be asked for again.
    let invoice_id = second.invoice_id.clone();
    let withdraw = WithdrawInvoiceRequest { invoice_id };
    let stranger = office.world.by(office.world.account(), withdraw.clone());
    assert_eq!(
        office
            .api
            .withdraw_invoice(stranger)
            .await
            .unwrap_err()
            .code(),
        Code::NotFound
    );
    let mine = office.world.by(office.account, withdraw);
    office.api.withdraw_invoice(mine).await.unwrap();
    office
        .request(office.wanted(InvoiceKind::Special, 400))
        .await
        .unwrap();
    let (unpaid, _) = office.world.order(office.account, 500).await;
    let mut nothing = office.wanted(InvoiceKind::GeneralPerson, 1);
    nothing.order_id = unpaid.order_id;
    assert_eq!(
        office.request(nothing).await.unwrap_err().code(),
        Code::NotFound
    );
}

#[sqlx::test]
async fn each_kind_asks_for_what_it_needs_and_codes_are_checked(pool: PgPool) {
    let office = Office::new(pool).await;
    let (person, enterprise, special) = (
        InvoiceKind::GeneralPerson,
        InvoiceKind::GeneralEnterprise,
        InvoiceKind::Special,
    );
    let cases: [(InvoiceKind, Change); 11] = [
        (person, |b| b.title.clear()),
        (person, |b| b.uscc = USCC.to_owned()),
        (person, |b| b.email = "nowhere".to_owned()),
        (enterprise, |b| b.uscc.clear()),
        (enterprise, |b| b.uscc = "91110000600037341M".to_owned()),
        (enterprise, |b| b.uscc = "91110000600037342L".to_owned()),
        (enterprise, |b| b.bank_name = "中国工商银行".to_owned()),
        (special, |b| b.address.clear()),
        (special, |b| b.phone = "call me".to_owned()),
        (special, |b| b.bank_name.clear()),
        (special, |b| b.account_number = "1".to_owned()),
    ];
    for (number, (kind, change)) in cases.into_iter().enumerate() {
        let mut wanted = office.wanted(kind, 100);
        change(wanted.buyer.as_mut().unwrap());
        let refused = office.request(wanted).await.unwrap_err();
        assert_eq!(reason(&refused), "INVALID_ARGUMENT", "{number}");
    }
    for kind in [person, enterprise, special] {
        office.request(office.wanted(kind, 100)).await.unwrap();
    }
}

#[sqlx::test]
async fn money_that_goes_back_wants_a_red_one_and_frees_what_is_left(pool: PgPool) {
    let office = Office::new(pool).await;
    let issued = office
        .request(office.wanted(InvoiceKind::Special, 700))
        .await
        .unwrap();
    office.issue(&issued, "24112000000000000001").await.unwrap();
    office
        .request(office.wanted(InvoiceKind::GeneralPerson, 300))
        .await
        .unwrap();
    office.give_back(400).await;
    let states: Vec<_> = office.newest().await.iter().map(Invoice::state).collect();
    assert_eq!(states, [InvoiceState::Refused, InvoiceState::ReversalDue]);
    let request = office
        .world
        .by_operator(office.finance, ListOpenInvoicesRequest::default());
    let open = office
        .api
        .list_open_invoices(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(open.invoices.len(), 1, "a red one is to be made");
    let early = office
        .request(office.wanted(InvoiceKind::GeneralPerson, 1))
        .await
        .unwrap_err();
    assert_eq!(
        reason(&early),
        "INVOICE_TOO_LARGE",
        "the old one still counts"
    );
    let reversed = office
        .reverse(&issued, "24112000000000000002")
        .await
        .unwrap();
    assert_eq!(reversed.state(), InvoiceState::Reversed);
    assert_eq!(reversed.red_number, "24112000000000000002");
    let more = office
        .request(office.wanted(InvoiceKind::GeneralPerson, 601))
        .await
        .unwrap_err();
    assert_eq!(reason(&more), "INVOICE_TOO_LARGE");
    office
        .request(office.wanted(InvoiceKind::GeneralPerson, 600))
        .await
        .unwrap();
}

#[sqlx::test]
async fn what_stands_on_one_is_sealed_and_who_looks_is_written_down(pool: PgPool) {
    let office = Office::new(pool).await;
    let invoice = office
        .request(office.wanted(InvoiceKind::Special, 1000))
        .await
        .unwrap();
    let rows: Vec<String> = sqlx::query_scalar("select i::text from invoices i")
        .fetch_all(&office.world.pool)
        .await
        .unwrap();
    for secret in ["某某", USCC, "0200001234567890", "finance@", "海淀"] {
        assert!(!rows.concat().contains(secret), "{secret}");
        let bytes = hex::encode(secret);
        assert!(!rows.concat().contains(&bytes), "{secret}");
    }
    let invoice_id = invoice.invoice_id.clone();
    let request = GetInvoiceBuyerRequest {
        invoice_id: invoice_id.clone(),
    };
    let request = office.world.by_operator(office.finance, request);
    let read = office
        .api
        .get_invoice_buyer(request)
        .await
        .unwrap()
        .into_inner();
    let buyer = read.buyer.unwrap();
    assert_eq!(
        (buyer.uscc.as_str(), buyer.account_number.as_str()),
        (USCC, "0200001234567890")
    );
    let request = office
        .world
        .by_operator(office.finance, ListMoneyAccessesRequest::default());
    let seen = office
        .world
        .api
        .list_money_accesses(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(seen.accesses.len(), 1);
    assert_eq!(seen.accesses[0].operator_id, office.finance.to_string());
    assert_eq!(
        (seen.accesses[0].action.as_str(), &seen.accesses[0].subject),
        ("invoice_buyer", &invoice_id)
    );
}
