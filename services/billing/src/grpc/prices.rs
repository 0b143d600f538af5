use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use prost_types::Timestamp;
use tonic::{Request, Response, Status};
use wanwu_access::caller;
use wanwu_proto::billing::v1::{
    GetPriceListRequest, GetPriceListResponse, ListPriceListsRequest, ListPriceListsResponse,
    ListPriceProposalsRequest, ListPriceProposalsResponse, Price, PriceTier,
    ProposePriceListRequest, ProposePriceListResponse, PublishPriceListRequest,
    PublishPriceListResponse, QuoteCallRequest, QuoteCallResponse, RefusePriceListRequest,
    RefusePriceListResponse, UnitCount, price_service_server::PriceService,
};
use wanwu_tariff::{Counts, Prices, Unit};

use super::{Handlers, id, page};
use crate::{
    commands::{ProposePriceList, QuoteCall},
    convert::{charge_lines, price_list},
    domain::{money::to_wire, price::PriceList},
    error::Error,
};

fn instant(field: &'static str, at: Timestamp) -> Result<DateTime<Utc>, Error> {
    let nanos = u32::try_from(at.nanos).ok();
    nanos
        .and_then(|nanos| DateTime::from_timestamp(at.seconds, nanos))
        .ok_or_else(|| Error::invalid(field, "is no instant"))
}

fn unit(number: i32) -> Result<Unit, Error> {
    Unit::from_number(number).ok_or_else(|| Error::invalid("unit", "is not known"))
}

/// The prices of a tier, by model.
fn prices(told: Vec<Price>, tier: i32, list: &mut PriceList) -> Result<(), Error> {
    let invalid = |what| Err(Error::invalid("prices", what));
    for price in told {
        if price.nanos_per_unit < 0 {
            return invalid("must not be below 0");
        }
        let of_model = list
            .prices
            .entry((price.model, tier))
            .or_insert(Prices::NONE);
        let unit = unit(price.unit)?;
        if of_model.own(unit).is_some() {
            return invalid("name a unit of a model once");
        }
        *of_model = of_model.with(unit, price.nanos_per_unit);
    }
    Ok(())
}

fn proposed(
    start: Option<Timestamp>,
    of_all: Vec<Price>,
    tiers: Vec<PriceTier>,
) -> Result<PriceList, Error> {
    let start = start.ok_or_else(|| Error::invalid("effective_time", "must be set"))?;
    let mut list = PriceList {
        version: 0,
        effective_at: instant("effective_time", start)?,
        tiers: tiers.iter().map(|tier| tier.threshold_nanos).collect(),
        prices: BTreeMap::new(),
    };
    prices(of_all, 0, &mut list)?;
    for (number, tier) in (1..).zip(tiers) {
        if tier.tier != number {
            return Err(Error::invalid("tiers", "count from 1"));
        }
        prices(tier.prices, number, &mut list)?;
    }
    Ok(list)
}

/// Counts that can be.
fn counts(told: &[UnitCount]) -> Result<Counts, Error> {
    let invalid = |what: &str| Error::invalid("counts", what);
    let mut counts = Counts::default();
    for one in told {
        let unit = unit(one.unit)?;
        if counts.of(unit) > 0 {
            return Err(invalid("name a unit once"));
        }
        let count = u64::try_from(one.count).map_err(|_| invalid("must not be below 0"))?;
        counts = counts.with(unit, count);
    }
    counts
        .checked()
        .map_err(|excess| Error::invalid("counts", excess.to_string()))
}

#[tonic::async_trait]
impl PriceService for Handlers {
    async fn get_price_list(
        &self,
        request: Request<GetPriceListRequest>,
    ) -> Result<Response<GetPriceListResponse>, Status> {
        let instant = match request.get_ref().instant {
            None => self.0.now(),
            Some(at) => instant("instant", at)?,
        };
        let list = self.0.price_list(instant).await?;
        Ok(Response::new(GetPriceListResponse {
            price_list: Some(price_list(&list)),
        }))
    }

    async fn list_price_lists(
        &self,
        request: Request<ListPriceListsRequest>,
    ) -> Result<Response<ListPriceListsResponse>, Status> {
        let request = request.into_inner();
        let page = page(request.page_size, &request.page_token)?;
        let page = self.0.published_price_lists(&page).await?;
        Ok(Response::new(ListPriceListsResponse {
            price_lists: page.items.iter().map(|list| price_list(list)).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn quote_call(
        &self,
        request: Request<QuoteCallRequest>,
    ) -> Result<Response<QuoteCallResponse>, Status> {
        let caller = caller(&request).ok();
        let account_id = caller.and_then(|caller| caller.account_id().ok());
        let request = request.into_inner();
        let quote = QuoteCall {
            account_id,
            counts: counts(&request.counts)?,
            instant: request
                .instant
                .map(|at| instant("instant", at))
                .transpose()?,
            model: request.model,
        };
        let quote = self.0.quote_call(quote).await?;
        Ok(Response::new(QuoteCallResponse {
            amount: Some(to_wire(quote.amount_nanos)),
            lines: charge_lines(&quote.lines),
            price_version: quote.price_version,
            price_tier: quote.price_tier,
        }))
    }

    async fn propose_price_list(
        &self,
        request: Request<ProposePriceListRequest>,
    ) -> Result<Response<ProposePriceListResponse>, Status> {
        let operator_id = caller(&request)?.operator_id()?;
        let request = request.into_inner();
        let command = ProposePriceList {
            operator_id,
            request_id: id("request_id", &request.request_id)?,
            body: self.0.body_key.mac(&request),
            list: proposed(request.effective_time, request.prices, request.tiers)?,
        };
        let proposal = self.0.propose_price_list(command).await?;
        Ok(Response::new(ProposePriceListResponse {
            proposal: Some(proposal.into()),
        }))
    }

    async fn publish_price_list(
        &self,
        request: Request<PublishPriceListRequest>,
    ) -> Result<Response<PublishPriceListResponse>, Status> {
        let operator_id = caller(&request)?.operator_id()?;
        let proposal_id = id("proposal_id", &request.get_ref().proposal_id)?;
        let proposal = self
            .0
            .publish_price_proposal(operator_id, proposal_id)
            .await?;
        Ok(Response::new(PublishPriceListResponse {
            proposal: Some(proposal.into()),
        }))
    }

    async fn refuse_price_list(
        &self,
        request: Request<RefusePriceListRequest>,
    ) -> Result<Response<RefusePriceListResponse>, Status> {
        let operator_id = caller(&request)?.operator_id()?;
        let proposal_id = id("proposal_id", &request.get_ref().proposal_id)?;
        let proposal = self
            .0
            .refuse_price_proposal(operator_id, proposal_id)
            .await?;
        Ok(Response::new(RefusePriceListResponse {
            proposal: Some(proposal.into()),
        }))
    }

    async fn list_price_proposals(
        &self,
        request: Request<ListPriceProposalsRequest>,
    ) -> Result<Response<ListPriceProposalsResponse>, Status> {
        let request = request.into_inner();
        let page = page(request.page_size, &request.page_token)?;
        let page = self.0.price_proposals(&page).await?;
        Ok(Response::new(ListPriceProposalsResponse {
            proposals: page.items.into_iter().map(Into::into).collect(),
            next_page_token: page.next_page_token,
        }))
    }
}
