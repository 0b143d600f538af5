use wanwu_ids::{OperatorId, PriceProposalId};

use crate::{
    app::App,
    error::Error,
    store::{
        price_proposals::{self, PriceProposal, State},
        prices,
    },
};

impl App {
    /// Another operator publishes a proposed list under the next version. It starts after every
    /// other list and not before customers had notice (obligation T3.3.2a).
    pub async fn publish_price_proposal(
        &self,
        operator_id: OperatorId,
        id: PriceProposalId,
    ) -> Result<PriceProposal, Error> {
        let mut tx = self.pool.begin().await?;
        // The proposal first, as everybody does.
        let mut proposal = price_proposals::lock(&mut tx, id)
            .await?
            .ok_or(Error::NotFound)?;
        if proposal.proposed_by == operator_id {
            return Err(Error::SameOperator);
        }
        match proposal.state {
            State::Proposed => {}
            State::Published => return Ok(proposal),
            State::Refused => return Err(Error::PriceProposalState),
        }
        prices::lock(&mut tx).await?;
        let (version, latest) = prices::latest(&mut tx).await?;
        let now = self.now();
        let start = proposal.list.effective_at;
        if start < now + self.price_notice || latest.is_some_and(|latest| start <= latest) {
            return Err(Error::PriceListStart);
        }
        proposal.list.version = version;
        self.publish_price_list(&mut tx, &proposal.list).await?;
        self.decide_proposal(&mut proposal, operator_id, State::Published);
        price_proposals::save(&mut tx, &proposal).await?;
        tx.commit().await?;
        Ok(proposal)
    }

    /// An operator refuses a proposed list, or takes an own one back.
    pub async fn refuse_price_proposal(
        &self,
        operator_id: OperatorId,
        id: PriceProposalId,
    ) -> Result<PriceProposal, Error> {
        let mut tx = self.pool.begin().await?;
        let mut proposal = price_proposals::lock(&mut tx, id)
            .await?
            .ok_or(Error::NotFound)?;
        match proposal.state {
            State::Proposed => {}
            State::Refused => return Ok(proposal),
            State::Published => return Err(Error::PriceProposalState),
        }
        self.decide_proposal(&mut proposal, operator_id, State::Refused);
        price_proposals::save(&mut tx, &proposal).await?;
        tx.commit().await?;
        Ok(proposal)
    }

    fn decide_proposal(&self, proposal: &mut PriceProposal, by: OperatorId, state: State) {
        proposal.state = state;
        proposal.decided_by = Some(by);
        proposal.decided_at = Some(self.now());
    }
}
