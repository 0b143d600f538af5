//! Who calls, and whether it may: network, credential, rule, gates, in this order.

use std::{net::IpAddr, sync::Arc};

use arc_swap::ArcSwap;
use http::{HeaderMap, HeaderValue};
use metrics::counter;
use wanwu_access::{Caller, Principal, Reason, StandingSource, Subject, gate, principal_header};
use wanwu_watch::WatchedStanding;

use crate::{
    address::{AddressKeys, TrustedProxies},
    contracts::{Contracts, Method},
    credential::Credential,
    grants::Grants,
    networks::Networks,
};

/// What is known of a request before anybody looks into it.
pub struct Arrival {
    /// The id of the request (UUIDv7 text).
    pub request_id: String,
    /// The client's network is in the table.
    pub mainland: bool,
    /// The client's address; `None`: a proxy did not say it.
    pub address: Option<IpAddr>,
}

/// Lets requests pass or not.
pub struct Admission {
    /// The networks of the mainland.
    pub networks: ArcSwap<Networks>,
    /// Our proxies.
    pub proxies: TrustedProxies,
    /// The key of addresses.
    pub address_keys: AddressKeys,
    /// The grants.
    pub grants: Arc<Grants>,
    /// The standings.
    pub standing: WatchedStanding,
}

impl Admission {
    /// Where the client is.
    pub fn arrival(&self, request_id: String, peer: IpAddr, headers: &HeaderMap) -> Arrival {
        let address = self.proxies.client(peer, headers);
        let mainland = address.is_some_and(|address| self.networks.load().contains(address));
        Arrival {
            request_id,
            mainland,
            address,
        }
    }

    /// The principal to call the method with, or why not.
    pub async fn admit(
        &self,
        contracts: &Contracts,
        method: &Method,
        headers: &HeaderMap,
        arrival: &Arrival,
    ) -> Result<HeaderValue, Reason> {
        let admitted = self.decide(contracts, method, headers, arrival).await;
        admitted.inspect_err(|reason| refused(*reason))
    }

    /// As [`admit`](Self::admit), for what has no rule of a contract and asks for no credential:
    /// only the network counts.
    pub fn admit_open(&self, arrival: &Arrival) -> Result<(), Reason> {
        if arrival.mainland {
            return Ok(());
        }
        refused(Reason::NetworkNotAllowed);
        Err(Reason::NetworkNotAllowed)
    }

    async fn decide(
        &self,
        contracts: &Contracts,
        method: &Method,
        headers: &HeaderMap,
        arrival: &Arrival,
    ) -> Result<HeaderValue, Reason> {
        // The rule says the same again below; here nothing was asked for a stranger yet.
        if !arrival.mainland && !method.rule.any_network {
            return Err(Reason::NetworkNotAllowed);
        }
        let credential = Credential::of(headers).map_err(|_| Reason::InvalidCredential)?;
        let subject = match credential {
            None => None,
            Some(credential) => {
                let grant = self.grants.check(&credential).await?;
                grant
                    .principal
                    .as_ref()
                    .and_then(|principal| principal.subject.clone())
            }
        };
        let principal = Principal {
            subject,
            request_id: arrival.request_id.clone(),
            mainland: arrival.mainland,
            address_key: arrival
                .address
                .map(|address| self.address_keys.key(address))
                .unwrap_or_default(),
        };
        let header = principal_header(&principal);
        let caller = Caller::try_from(principal).map_err(|_| Reason::InvalidCredential)?;
        let rule = contracts.rules().admit(&method.path, &caller)?;
        if let Subject::Account { account_id, .. } | Subject::AppKey { account_id, .. } =
            caller.subject
            && !rule.gates.is_empty()
        {
            let standing = match self.standing.fresh(account_id) {
                Some(standing) => standing,
                None => match self.standing.get(account_id).await {
                    Ok(Some(standing)) => standing,
                    // There is no such account any more.
                    Ok(None) => return Err(Reason::AccountClosed),
                    Err(_) => return Err(Reason::StandingUnknown),
                },
            };
            gate(&standing, &rule.gates)?;
        }
        Ok(header)
    }
}

/// Counts a refusal of the edge's own.
pub fn refused(reason: Reason) {
    let reason = reason.as_str_name();
    let reason = reason.strip_prefix("ERROR_REASON_").unwrap_or(reason);
    tracing::debug!(reason, "a request is refused");
    counter!("edge_refusals_total", "reason" => reason).increment(1);
}
