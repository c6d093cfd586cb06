//! Values that are more than a string or a number.

use super::reader::Field;
use crate::error::Result;
use std::path::PathBuf;
use std::time::Duration;

const DURATION: &str = "a duration such as \"500ms\", \"30s\", \"5m\" or \"1h\", or 0";
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Unit and its length in milliseconds. Longer names first, since the first that fits counts.
const UNITS: &[(&str, u64)] = &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// `"5m"`, `"30s"`, `"500ms"`, `"1h"`, `"1d"`; 0 needs no unit. At most a year.
pub(super) fn duration(field: &Field<'_>) -> Result<Duration> {
    if field.unsigned() == Some(0) {
        return Ok(Duration::ZERO);
    }
    let text = field.string(DURATION)?;
    parse_duration(text).filter(|duration| *duration <= YEAR).ok_or_else(|| field.wrong(DURATION))
}

/// A duration that is more than nothing.
pub(super) fn positive_duration(field: &Field<'_>) -> Result<Duration> {
    let duration = duration(field)?;
    if duration.is_zero() {
        Err(field.bad("must be more than 0: a call without time cannot succeed"))
    } else {
        Ok(duration)
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, length) = UNITS.iter().find(|(name, _)| *name == unit.trim_start_matches(' '))?;
    number.parse::<u64>().ok()?.checked_mul(*length).map(Duration::from_millis)
}

/// A size of memory in KiB, `"512K"` or `"19M"`, from `least` to `most` KiB.
pub(super) fn kib(field: &Field<'_>, least: u32, most: u32) -> Result<u32> {
    let accepted = format!("a size from \"{}M\" to \"{}M\", such as \"19M\" or \"9216K\"", least / 1024, most / 1024);
    let text = field.string(&accepted)?;
    let parse = |number: &str, unit: u32| number.parse::<u32>().ok()?.checked_mul(unit);
    let size = match (text.strip_suffix('K'), text.strip_suffix('M')) {
        (Some(number), _) => parse(number, 1),
        (_, Some(number)) => parse(number, 1024),
        _ => None,
    };
    size.filter(|size| (least..=most).contains(size)).ok_or_else(|| field.wrong(&accepted))
}

/// An absolute path to a file. `~` is refused instead of expanded: whose home it is depends on who runs
/// the host, and a token must not be in two places.
pub(super) fn absolute_path(field: &Field<'_>, text: &str) -> Result<PathBuf> {
    if text.starts_with('~') {
        return Err(field.bad("~ is not expanded; write the absolute path"));
    }
    let path = PathBuf::from(text);
    if !path.is_absolute() {
        return Err(field.bad("the path must be absolute"));
    }
    if text.ends_with('/') || path.file_name().is_none() {
        return Err(field.bad("the path must name a file, not a directory"));
    }
    Ok(path)
}

/// A whole field that is an absolute path.
pub(super) fn path(field: &Field<'_>) -> Result<PathBuf> {
    absolute_path(field, field.string("an absolute path")?)
}

/// An `http` or `https` URL; `user:password@` only where `credentials` allows it.
pub(super) fn url(field: &Field<'_>, credentials: bool) -> Result<String> {
    const URL: &str = "a URL that begins with http:// or https://";
    let text = field.string(URL)?;
    let rest =
        text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).ok_or_else(|| field.wrong(URL))?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    if authority.is_empty() || text.contains(char::is_whitespace) {
        return Err(field.wrong(URL));
    }
    if authority.contains('@') && !credentials {
        return Err(field.bad("the URL must not carry a user or password; requests are signed with AWS credentials"));
    }
    Ok(text.to_owned())
}

/// The same in a string that holds more than it; without credentials.
pub(super) fn endpoint(field: &Field<'_>, text: &str) -> Result<String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or("")) {
        Some(authority) if !authority.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == '@') => {
            Ok(text.to_owned())
        }
        _ => Err(field.bad("endpoint_url is not a URL that begins with http:// or https://, without a user")),
    }
}

/// Whether a URL without credentials would carry plaintext keys over a network in the clear.
pub(super) fn is_clear_text(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(""),
        None => authority.split(':').next().unwrap_or(""),
    };
    !is_loopback(host)
}

/// Whether it is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let loopback = host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    loopback || host.eq_ignore_ascii_case("localhost")
}

/// The Region of a KMS ARN: `arn:PARTITION:kms:REGION:ACCOUNT:key/…` or `…:alias/…`. `None` if it is none.
pub(super) fn kms_arn_region(arn: &str) -> Option<&str> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let &["arn", partition, "kms", region, account, resource] = parts.as_slice() else { return None };
    let name = resource.strip_prefix("key/").or_else(|| resource.strip_prefix("alias/"))?;
    let full = !partition.is_empty() && !account.is_empty() && !name.is_empty() && is_region(region);
    full.then_some(region)
}

/// Whether it can be the name of a Region.
pub(super) fn is_region(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// A label as a file name: letters, digits, `.`, `-` and `_` stay, any other byte becomes `%XX`. No two
/// labels get the same name.
pub(super) fn file_name(label: &str) -> String {
    let mut name = String::with_capacity(label.len());
    for (at, byte) in label.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || (byte == b'.' && at > 0);
        if plain { name.push(char::from(byte)) } else { name.push_str(&format!("%{byte:02X}")) }
    }
    name
}
