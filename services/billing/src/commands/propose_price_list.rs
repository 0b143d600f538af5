use sqlx::types::Uuid;
use wanwu_ids::{OperatorId, PriceProposalId, RequestId};
use wanwu_postgres::{
    page::{Page, PageRequest},
    requests::{self, BodyMac, Claim, RequestKey},
};

use crate::{
    app::App,
    domain::price::PriceList,
    error::Error,
    store::price_proposals::{self, PriceProposal, State},
};

/// An operator hands in what is to be the next price list.
pub struct ProposePriceList {
    /// Who.
    pub operator_id: OperatorId,
    /// Names the request, for ever.
    pub request_id: RequestId,
    /// Proves that a repeated request is the same.
    pub body: BodyMac,
    /// The list, without a version.
    pub list: PriceList,
}

impl App {
    /// Keeps the list as it was handed in; another operator decides.
    pub async fn propose_price_list(
        &self,
        command: ProposePriceList,
    ) -> Result<PriceProposal, Error> {
        let list = command.list;
        list.check()
            .map_err(|what| Error::invalid("prices", what))?;
        let now = self.now();
        let proposal = PriceProposal {
            proposal_id: self.ids.id(),
            state: State::Proposed,
            list,
            proposed_by: command.operator_id,
            decided_by: None,
            proposed_at: now,
            decided_at: None,
        };
        let mut tx = self.pool.begin().await?;
        let caller = format!("operator:{}", command.operator_id);
        let key = RequestKey {
            method: "wanwu.billing.v1.PriceService/ProposePriceList",
            caller: &caller,
            request_id: command.request_id.uuid(),
        };
        let object_id: Uuid = proposal.proposal_id.uuid();
        if let Claim::Repeated(made) =
            requests::claim(&mut tx, key, command.body, object_id, now, None).await?
        {
            return price_proposals::find(&mut tx, PriceProposalId::from_uuid(made))
                .await?
                .ok_or(Error::NotFound);
        }
        price_proposals::insert(&mut tx, &proposal).await?;
        tx.commit().await?;
        Ok(proposal)
    }

    /// Proposals, newest first.
    pub async fn price_proposals(
        &self,
        page: &PageRequest<PriceProposalId>,
    ) -> Result<Page<PriceProposal>, Error> {
        let mut connection = self.pool.acquire().await?;
        let rows = price_proposals::list(&mut connection, page.after, page.limit()).await?;
        Ok(page.page(rows, |proposal| proposal.proposal_id))
    }
}
