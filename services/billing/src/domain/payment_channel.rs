//! An order at one provider.

use chrono::{DateTime, Duration, Utc};
use wanwu_proto::billing::v1::{PaymentChannelState, PaymentProvider};

use super::payment::Provider;

/// How the payer reaches a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// WeChat Pay: the payer scans a code.
    WechatNative,
    /// WeChat Pay: the browser of the payer's phone opens a page.
    WechatH5,
    /// WeChat Pay: a page inside WeChat hands signed parameters to WeChat.
    WechatJsapi,
    /// Alipay: the payer scans a code.
    AlipayPrecreate,
    /// Alipay: the payer's browser opens a page.
    AlipayPage,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 5] = [
        Self::WechatNative,
        Self::WechatH5,
        Self::WechatJsapi,
        Self::AlipayPrecreate,
        Self::AlipayPage,
    ];

    /// Whose it is.
    #[must_use]
    pub const fn provider(self) -> Provider {
        match self {
            Self::WechatNative | Self::WechatH5 | Self::WechatJsapi => Provider::Wechat,
            Self::AlipayPrecreate | Self::AlipayPage => Provider::Alipay,
        }
    }

    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WechatNative => "wechat_native",
            Self::WechatH5 => "wechat_h5",
            Self::WechatJsapi => "wechat_jsapi",
            Self::AlipayPrecreate => "alipay_precreate",
            Self::AlipayPage => "alipay_page",
        }
    }

    /// From the stored text.
    #[must_use]
    pub fn from_stored(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == text)
    }

    /// From the contract; `None`: unspecified.
    #[must_use]
    pub const fn from_wire(provider: PaymentProvider) -> Option<Self> {
        match provider {
            PaymentProvider::Unspecified => None,
            PaymentProvider::WechatNative => Some(Self::WechatNative),
            PaymentProvider::WechatH5 => Some(Self::WechatH5),
            PaymentProvider::WechatJsapi => Some(Self::WechatJsapi),
            PaymentProvider::AlipayPrecreate => Some(Self::AlipayPrecreate),
            PaymentProvider::AlipayPage => Some(Self::AlipayPage),
        }
    }
}

impl From<Method> for PaymentProvider {
    fn from(method: Method) -> Self {
        match method {
            Method::WechatNative => Self::WechatNative,
            Method::WechatH5 => Self::WechatH5,
            Method::WechatJsapi => Self::WechatJsapi,
            Method::AlipayPrecreate => Self::AlipayPrecreate,
            Method::AlipayPage => Self::AlipayPage,
        }
    }
}

/// The state of an order at one provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The provider has not answered yet.
    Created,
    /// The payer can pay.
    Open,
    /// Paid here.
    Paid,
    /// The provider proved that nobody can pay any more.
    Closed,
    /// The provider says that it knows no such order. That can be wrong (nobody signs it, or the
    /// payer has not scanned yet), so it is asked on.
    Absent,
}

/// What a provider says about an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It was offered: the payer can pay.
    Opened,
    /// It was paid.
    Paid,
    /// Signed: nobody can pay it any more.
    Closed,
    /// It knows no such order.
    Unknown {
        /// The answer was signed.
        proved: bool,
    },
}

/// Until when after its end an order that the provider does not know is asked about. Notices
/// are repeated for a day, at WeChat Pay and at Alipay.
const ASKED_ON: Duration = Duration::days(3);
/// Until when after its end somebody may still be paying: a code was scanned at the last moment.
const GRACE: Duration = Duration::minutes(5);

impl State {
    /// Every state.
    pub const ALL: [Self; 5] = [
        Self::Created,
        Self::Open,
        Self::Paid,
        Self::Closed,
        Self::Absent,
    ];

    /// The state after the provider spoke. `over`: nobody is to pay any more, and so long after
    /// the time when the order ends (negative: before); `None`: the payer still may.
    #[must_use]
    pub fn after(self, said: Said, over: Option<Duration>) -> Self {
        match (self, said, over) {
            (Self::Paid, ..) | (_, Said::Paid, _) => Self::Paid,
            (Self::Closed, ..) | (_, Said::Closed, _) => Self::Closed,
            (_, Said::Opened, _) => Self::Open,
            // Alipay knows of an order when its code is scanned, not before.
            (state, Said::Unknown { .. }, None) => state,
            (_, Said::Unknown { proved }, Some(since_end)) => {
                if since_end >= ASKED_ON || (proved && since_end >= GRACE) {
                    Self::Closed
                } else {
                    Self::Absent
                }
            }
        }
    }

    /// Nobody is expected to pay here any more.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Closed | Self::Absent)
    }

    /// The provider is asked on.
    #[must_use]
    pub const fn is_asked(self) -> bool {
        matches!(self, Self::Created | Self::Open | Self::Absent)
    }

    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Open => "open",
            Self::Paid => "paid",
            Self::Closed => "closed",
            Self::Absent => "absent",
        }
    }

    /// From the stored text.
    #[must_use]
    pub fn from_stored(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

impl From<State> for PaymentChannelState {
    fn from(state: State) -> Self {
        match state {
            State::Created => Self::Created,
            State::Open => Self::Open,
            State::Paid => Self::Paid,
            State::Closed => Self::Closed,
            State::Absent => Self::Absent,
        }
    }
}

/// When the provider is asked again: after 5, 10, 20 ... seconds, at most every 2 minutes, and
/// at most every hour when the order's time is over (`since_end` not negative).
#[must_use]
pub fn next_query(now: DateTime<Utc>, queries: u32, since_end: Duration) -> DateTime<Utc> {
    let limit = if since_end >= Duration::zero() {
        3600
    } else {
        120
    };
    now + Duration::seconds((5_i64 << queries.min(10)).min(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: [Said; 5] = [
        Said::Opened,
        Said::Paid,
        Said::Closed,
        Said::Unknown { proved: true },
        Said::Unknown { proved: false },
    ];

    #[test]
    fn what_nobody_signed_ends_nothing_for_three_days() {
        let unsigned = Said::Unknown { proved: false };
        for state in [State::Created, State::Open, State::Absent] {
            assert_eq!(state.after(unsigned, None), state);
            for hours in [-1, 0, 1, 71] {
                let after = state.after(unsigned, Some(Duration::hours(hours)));
                assert_eq!(after, State::Absent, "{state:?} {hours}");
                assert!(after.is_asked());
            }
            let after = state.after(unsigned, Some(Duration::hours(72)));
            assert_eq!(after, State::Closed);
        }
    }

    #[test]
    fn a_signed_absence_ends_an_order_only_after_its_time() {
        let signed = Said::Unknown { proved: true };
        let after = |since_end| State::Open.after(signed, Some(since_end));
        assert_eq!(after(Duration::zero()), State::Absent);
        assert_eq!(after(GRACE), State::Closed);
    }

    #[test]
    fn whatever_a_provider_says_paid_stays_paid_and_nothing_leaves_closed_but_a_payment() {
        for seed in 0..5_usize.pow(6) {
            let (mut state, mut rest, mut paid) = (State::Created, seed, false);
            for step in 0..6 {
                let said = SAID[rest % 5];
                rest /= 5;
                let before = state;
                let over = (step > 1).then(|| Duration::minutes(4 * step - 8));
                state = state.after(said, over);
                paid |= said == Said::Paid;
                assert_eq!(state == State::Paid, paid, "seed {seed}");
                if before == State::Closed {
                    assert!(matches!(state, State::Closed | State::Paid), "seed {seed}");
                }
            }
        }
    }

    #[test]
    fn what_is_stored_is_read_as_it_was_written() {
        for state in State::ALL {
            assert_eq!(State::from_stored(state.as_str()), Some(state));
        }
        for method in Method::ALL {
            assert_eq!(Method::from_stored(method.as_str()), Some(method));
            assert_eq!(Method::from_wire(method.into()), Some(method));
            let provider = method.provider();
            assert_eq!(Provider::from_stored(provider.as_str()), Some(provider));
        }
    }
}
