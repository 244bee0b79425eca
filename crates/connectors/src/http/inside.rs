//! Which servers may be asked: a server out in the open must not send us to one inside a network.
//!
//! The project's own hosts may lie anywhere. Another one, to which a redirect or the address of a next page
//! leads, must lie outside, unless the source's own host is inside too. The addresses that a name stands
//! for are checked where they are looked up for the connection, so that a second look cannot differ.

use std::{
    collections::HashSet,
    error::Error as StdError,
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Knows which hosts the project names, whether the first of them is inside, and where servers sent us. (All
/// as they stand in parsed URLs: in lower case.)
#[derive(Debug, Clone)]
pub(super) struct Neighbours {
    hosts: Arc<Vec<String>>,
    home_is_inside: Arc<AtomicBool>,
    /// Names that only servers named. (Others may be looked up too: those of proxies.)
    strangers: Arc<Mutex<HashSet<String>>>,
}

/// Why a name was not looked up any further.
#[derive(Debug)]
pub(super) struct IsInside;

impl fmt::Display for IsInside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("its address is inside a network")
    }
}

impl StdError for IsInside {}

impl Neighbours {
    /// `home` is the source's own address, `others` are further ones that the project names.
    pub fn of(home: &Url, others: impl IntoIterator<Item = Url>) -> Self {
        let all = std::iter::once(home.clone()).chain(others);
        let hosts = all.filter_map(|url| url.host_str().map(str::to_owned)).collect();
        let home_is_inside = literal(home).is_some_and(is_inside);
        Self {
            hosts: Arc::new(hosts),
            home_is_inside: Arc::new(AtomicBool::new(home_is_inside)),
            strangers: Arc::default(),
        }
    }

    /// Whether `url` may be asked, as far as it shows without looking a name up.
    pub fn may_ask(&self, url: &Url) -> bool {
        let Some(name) = url.host_str() else { return false };
        if self.hosts.iter().any(|host| host == name) {
            return true;
        }
        if let Some(address) = literal(url) {
            return self.may_reach(address);
        }
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        true
    }

    fn may_reach(&self, address: IpAddr) -> bool {
        self.home_is_inside.load(Ordering::Relaxed) || !is_inside(address)
    }

    /// Those of `addresses`, which `host` stands for, that may be connected to.
    fn allowed(&self, host: &str, addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, IsInside> {
        if self.hosts.first().is_some_and(|home| home == host) && addresses.iter().any(|a| is_inside(a.ip()))
        {
            self.home_is_inside.store(true, Ordering::Relaxed);
        }
        if !self.strangers.lock().unwrap_or_else(PoisonError::into_inner).contains(host) {
            return Ok(addresses);
        }
        let outside: Vec<_> = addresses.into_iter().filter(|address| self.may_reach(address.ip())).collect();
        if outside.is_empty() { Err(IsInside) } else { Ok(outside) }
    }
}

impl Resolve for Neighbours {
    fn resolve(&self, name: Name) -> Resolving {
        let neighbours = self.clone();
        Box::pin(async move {
            let host = name.as_str().to_ascii_lowercase();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            let allowed: Addrs = Box::new(neighbours.allowed(&host, found)?.into_iter());
            Ok(allowed)
        })
    }
}

/// The address in a URL that needs no looking up. (The URL parser has read 2130706433 and 0x7f.1 by now.)
fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        Host::Domain(_) => None,
    }
}

/// Whether an address cannot be reached from everywhere: this machine, this network, a group of machines.
fn is_inside(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_multicast()
                || matches!(
                    (a, b, c),
                    (0, ..) | (100, 64..=127, _) | (192, 0, 0) | (198, 18..=19, _) | (240.., ..)
                )
        }
        IpAddr::V6(v6) => {
            if let Some(v4) = v6.to_ipv4_mapped() {
                return is_inside(v4.into());
            }
            match v6.segments() {
                // The forms that carry an address of IPv4: translated, 6to4 and the old compatible one,
                // which `::` and `::1` look like too.
                [0x64, 0xff9b, 0, 0, 0, 0, high, low]
                | [0x2002, high, low, ..]
                | [0, 0, 0, 0, 0, 0, high, low] => {
                    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
                    is_inside(Ipv4Addr::new(a, b, c, d).into())
                }
                [first, ..] => {
                    first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfe80 || first & 0xff00 == 0xff00
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn url(host: &str) -> Url {
        Url::parse(&format!("http://{host}/x")).unwrap()
    }

    #[test]
    fn addresses_inside_are_known_in_every_form() {
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.100.100.200",
            "198.18.0.1",
            "255.255.255.255",
            "224.0.0.1",
            "[::]",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:a9fe:a9fe]",
            "[::127.0.0.1]",
            "[64:ff9b::10.0.0.1]",
            "[2002:7f00:1::]",
            "[fd00:ec2::254]",
            "[fe80::1]",
            "[ff02::1]",
        ] {
            assert!(literal(&url(host)).is_some_and(is_inside), "{host}");
        }
        for host in
            ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "[2606:4700::1111]", "[64:ff9b::8.8.8.8]"]
        {
            assert!(literal(&url(host)).is_some_and(|address| !is_inside(address)), "{host}");
        }
        assert_eq!(literal(&url("a.example")), None);
    }

    #[test]
    fn only_who_is_inside_may_send_us_inside() {
        let (inside, outside) = ("10.0.0.9:0".parse().unwrap(), "1.1.1.1:0".parse().unwrap());
        let open = Neighbours::of(&url("api.example"), [url("login.example")]);
        assert!(["api", "login", "other"].iter().all(|name| open.may_ask(&url(&format!("{name}.example")))));
        assert!(!open.may_ask(&url("169.254.169.254")) && open.may_ask(&url("1.1.1.1")));
        assert!(open.allowed("other.example", vec![inside]).is_err());
        assert_eq!(open.allowed("other.example", vec![inside, outside]).unwrap(), [outside]);
        assert_eq!(open.allowed("login.example", vec![inside]).unwrap(), [inside], "the project names it");
        assert_eq!(open.allowed("proxy.example", vec![inside]).unwrap(), [inside], "no server names it");
        assert!(open.allowed("other.example", vec![inside]).is_err());
        // The source's own host turns out to be inside.
        assert_eq!(open.allowed("api.example", vec![inside]).unwrap(), [inside]);
        assert_eq!(open.allowed("other.example", vec![inside]).unwrap(), [inside]);
        assert!(open.may_ask(&url("169.254.169.254")));
        assert!(Neighbours::of(&url("127.0.0.1"), []).may_ask(&url("10.0.0.1")));
    }
}
