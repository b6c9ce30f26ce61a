//! The guard for outbound URLs that users give: webhooks, sources, tools, providers.
//!
//! It judges what the URL says. A public name that resolves to a private address passes here: on
//! Cloudflare's network such an address leads nowhere, and a self-hosted deployment has to keep the
//! resolver or the firewall honest as well. Redirects must be followed by hand, each target checked
//! again.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use url::{Host, Url};

/// Longest URL that is looked at.
pub const MAX_URL_BYTES: usize = 2_048;

/// Names that mean this machine or the local network.
const PRIVATE_SUFFIXES: [&str; 10] =
    ["local", "internal", "home.arpa", "localdomain", "lan", "intranet", "svc", "corp", "home", "private"];

/// What the deployment allows beyond public addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboundPolicy {
    /// Loopback addresses, `localhost` and single-label names: for a sandbox on the developer's own
    /// machine.
    pub allow_loopback: bool,
}

/// Why a URL was refused. The texts go to the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutboundRefusal {
    /// Not an absolute URL.
    NotAUrl,
    /// Over 2,048 bytes.
    TooLong,
    /// Neither `http` nor `https`.
    Scheme,
    /// Carries a user name or a password.
    Credentials,
    /// An address literal that is not on the public Internet.
    PrivateAddress,
    /// A name of this machine or of a local network.
    PrivateName,
}

impl fmt::Display for OutboundRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAUrl => "must be an absolute URL with a host",
            Self::TooLong => "must be at most 2048 bytes long",
            Self::Scheme => "must begin with http:// or https://",
            Self::Credentials => "must not contain a user name or password",
            Self::PrivateAddress => "must not lead to a private, local or reserved address",
            Self::PrivateName => "must not lead to a local or internal host name",
        })
    }
}

impl std::error::Error for OutboundRefusal {}

/// Parses a URL and refuses it unless it leads, as far as the text tells, to the public Internet.
///
/// # Errors
/// [`OutboundRefusal`].
pub fn check_url(url: &str, policy: OutboundPolicy) -> Result<Url, OutboundRefusal> {
    if url.len() > MAX_URL_BYTES {
        return Err(OutboundRefusal::TooLong);
    }
    let url = Url::parse(url).map_err(|_| OutboundRefusal::NotAUrl)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(OutboundRefusal::Scheme);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(OutboundRefusal::Credentials);
    }
    // The parser has already turned `0x7f.1`, `2130706433` and percent escapes into one spelling.
    match url.host() {
        None => return Err(OutboundRefusal::NotAUrl),
        Some(Host::Ipv4(address)) => check_address(IpAddr::V4(address), policy)?,
        Some(Host::Ipv6(address)) => check_address(IpAddr::V6(address), policy)?,
        Some(Host::Domain(name)) => check_name(name, policy)?,
    }
    Ok(url)
}

/// Refuses an address that is not on the public Internet; also for addresses that a resolver
/// returned.
///
/// # Errors
/// [`OutboundRefusal::PrivateAddress`].
pub fn check_address(address: IpAddr, policy: OutboundPolicy) -> Result<(), OutboundRefusal> {
    let address = match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => embedded_ipv4(v6).map_or(address, IpAddr::V4),
    };
    let is_allowed = match address {
        _ if address.is_loopback() => policy.allow_loopback,
        IpAddr::V4(v4) => is_public_ipv4(v4),
        IpAddr::V6(v6) => is_public_ipv6(v6),
    };
    if is_allowed { Ok(()) } else { Err(OutboundRefusal::PrivateAddress) }
}

fn check_name(name: &str, policy: OutboundPolicy) -> Result<(), OutboundRefusal> {
    // A trailing dot only marks the name as absolute. The parser has lower-cased it.
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() || name.ends_with('.') {
        return Err(OutboundRefusal::NotAUrl);
    }
    let is_local = !name.contains('.') || is_in_domain(name, "localhost");
    let is_private = PRIVATE_SUFFIXES.iter().any(|suffix| is_in_domain(name, suffix));
    if is_private || (is_local && !policy.allow_loopback) {
        return Err(OutboundRefusal::PrivateName);
    }
    Ok(())
}

fn is_in_domain(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// IANA's special-purpose registry for IPv4 (RFC 6890 and later), and one public address that is
/// none.
const fn is_public_ipv4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        [0 | 10 | 127, ..]              // this network, private, loopback
            | [100, 64..=127, ..]       // carrier-grade NAT; Alibaba's metadata
            | [169, 254, ..]            // link-local; the clouds' metadata
            | [172, 16..=31, ..]        // private
            | [192, 0, 0 | 2, _]        // protocol assignments; documentation
            | [192, 88, 99, _]          // 6to4 relays
            | [192, 168, ..]            // private
            | [198, 18 | 19, ..]        // benchmarks
            | [198, 51, 100, _]         // documentation
            | [203, 0, 113, _]          // documentation
            | [168, 63, 129, 16]        // Azure's platform address
            | [224..=255, ..] // multicast, reserved, broadcast
    )
}

/// Only global unicast (2000::/3) passes, less what IANA took out of it.
const fn is_public_ipv6(address: Ipv6Addr) -> bool {
    match address.segments() {
        [0x2001, 0..=0x1ff, ..]             // protocol assignments, Teredo, ORCHID
        | [0x2001, 0xdb8, ..]               // documentation
        | [0x3fff, 0..=0xfff, ..] => false, // documentation
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

/// The IPv4 address that an IPv6 one stands for: mapped, compatible, NAT64 (RFC 6052) and 6to4.
fn embedded_ipv4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b] = match address.segments() {
        // :: and ::1 are IPv6 addresses in their own right.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => return None,
        [0, 0, 0, 0, 0, 0 | 0xffff, a, b] | [0x64, 0xff9b, 0, 0, 0, 0, a, b] => [a, b],
        [0x2002, a, b, ..] => [a, b],
        _ => return None,
    };
    let ([a, b], [c, d]) = (a.to_be_bytes(), b.to_be_bytes());
    Some(Ipv4Addr::new(a, b, c, d))
}

/// The root that API paths are appended to: white space, trailing slashes and one `/v1` taken off;
/// nothing else is touched.
///
/// `http://host:8000/v1/` is `http://host:8000`; an empty text stays empty.
#[must_use]
pub fn normalise_base_url(base_url: &str) -> &str {
    let trimmed = base_url.trim().trim_end_matches('/');
    trimmed.strip_suffix("/v1").unwrap_or(trimmed).trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use OutboundRefusal::{Credentials, NotAUrl, PrivateAddress, PrivateName, Scheme, TooLong};

    const LIVE: OutboundPolicy = OutboundPolicy { allow_loopback: false };
    const SANDBOX: OutboundPolicy = OutboundPolicy { allow_loopback: true };

    #[test]
    fn public_urls_pass() {
        for url in [
            "https://api.openai.com/v1",
            "http://example.com:8080/hook?x=1#y",
            "https://8.8.8.8/",
            "https://172.32.0.1/",
            "https://100.128.0.1/",
            "https://[2606:4700:4700::1111]/",
            "https://[::ffff:8.8.8.8]/",
            "https://notlocalhost.com/",
            "https://mylocal.dev/",
            "https://internal.example.com/",
            "https://example.com./",
            "https://xn--bcher-kva.example/",
        ] {
            assert!(check_url(url, LIVE).is_ok(), "{url}");
        }
    }

    #[test]
    fn refusals_hold_in_both_modes() {
        let long = format!("https://example.com/{}", "x".repeat(MAX_URL_BYTES));
        let cases = [
            ("", NotAUrl),
            ("/relative", NotAUrl),
            ("https://", NotAUrl),
            ("http://.", NotAUrl),
            ("http://example..", NotAUrl),
            ("http://bücher.example", NotAUrl),
            (long.as_str(), TooLong),
            ("ftp://example.com", Scheme),
            ("file:///etc/passwd", Scheme),
            ("javascript:alert(1)", Scheme),
            ("https://user@example.com", Credentials),
            ("https://user:pass@example.com", Credentials),
            ("http://10.0.0.1", PrivateAddress),
            ("http://172.16.0.1", PrivateAddress),
            ("http://172.31.255.255", PrivateAddress),
            ("http://192.168.1.1:8080/x", PrivateAddress),
            ("http://169.254.169.254/latest/meta-data", PrivateAddress),
            ("http://0xa9fea9fe/", PrivateAddress),
            ("http://2852039166/", PrivateAddress),
            ("http://100.100.100.200/", PrivateAddress),
            ("http://168.63.129.16/", PrivateAddress),
            ("http://0.0.0.0/", PrivateAddress),
            ("http://0/", PrivateAddress),
            ("http://192.0.2.1/", PrivateAddress),
            ("http://198.18.0.1/", PrivateAddress),
            ("http://224.0.0.1/", PrivateAddress),
            ("http://240.0.0.1/", PrivateAddress),
            ("http://255.255.255.255/", PrivateAddress),
            ("http://[::]/", PrivateAddress),
            ("http://[fe80::1]/", PrivateAddress),
            ("http://[fd00:ec2::254]/", PrivateAddress),
            ("http://[ff02::1]/", PrivateAddress),
            ("http://[2001:db8::1]/", PrivateAddress),
            ("http://[::ffff:10.0.0.1]/", PrivateAddress),
            ("http://[::ffff:a9fe:a9fe]/", PrivateAddress),
            ("http://[::a9fe:a9fe]/", PrivateAddress),
            ("http://[64:ff9b::10.0.0.1]/", PrivateAddress),
            ("http://[2002:a00:1::]/", PrivateAddress),
            ("http://[2001:0:1::]/", PrivateAddress),
            ("http://[100::1]/", PrivateAddress),
            ("http://printer.local/", PrivateName),
            ("http://db.internal/", PrivateName),
            ("http://metadata.google.internal/computeMetadata", PrivateName),
            ("http://METADATA.google.INTERNAL./", PrivateName),
            ("http://router.home.arpa/", PrivateName),
        ];
        for (url, refusal) in cases {
            assert_eq!(check_url(url, LIVE), Err(refusal), "{url}");
            assert_eq!(check_url(url, SANDBOX), Err(refusal), "{url} (sandbox)");
        }
    }

    #[test]
    fn loopback_is_a_setting() {
        let cases = [
            ("http://127.0.0.1:8080/", PrivateAddress),
            ("http://127.1/", PrivateAddress),
            ("http://127.0.0.1./", PrivateAddress),
            ("http://0x7f.0.0.1/", PrivateAddress),
            ("http://0177.0.0.1/", PrivateAddress),
            ("http://2130706433/", PrivateAddress),
            ("http://%31%32%37.0.0.1/", PrivateAddress),
            ("http://[::1]:3000/", PrivateAddress),
            ("http://[::ffff:127.0.0.1]/", PrivateAddress),
            ("http://localhost:3000/", PrivateName),
            ("http://LOCALHOST./", PrivateName),
            ("http://api.localhost/", PrivateName),
            ("http://ollama:11434/", PrivateName),
        ];
        for (url, refusal) in cases {
            assert_eq!(check_url(url, LIVE), Err(refusal), "{url}");
            assert!(check_url(url, SANDBOX).is_ok(), "{url} (sandbox)");
        }
    }

    #[test]
    fn base_urls_lose_slashes_and_one_v1() {
        let cases = [
            ("", ""),
            ("http://h:8000", "http://h:8000"),
            ("http://h:8000/", "http://h:8000"),
            ("http://h:8000/v1", "http://h:8000"),
            ("http://h:8000/v1/", "http://h:8000"),
            ("https://h/api/v1//", "https://h/api"),
            ("https://h/v1/v1", "https://h/v1"),
            ("https://h/v1beta", "https://h/v1beta"),
            (" https://h/openai ", "https://h/openai"),
        ];
        for (given, expected) in cases {
            assert_eq!(normalise_base_url(given), expected, "{given}");
        }
    }
}
