//! Addresses and networks.

use std::net::{IpAddr, Ipv6Addr};

use super::compile::{unknown, written};
use crate::error::Error;
use crate::expressions::value::{Value, utf8};

/// A network: its first address and the number of bits that its addresses share.
#[derive(Debug)]
pub struct Network(IpAddr, u32);

pub fn networks(arguments: &[Value<'_>]) -> Result<Vec<Network>, Error> {
    let mut networks = Vec::new();
    for place in 1..arguments.len() {
        match written(arguments, place) {
            Some(Value::List(several)) => {
                for one in &several {
                    networks.push(network(one)?);
                }
            }
            Some(one) => networks.push(network(&one)?),
            None => return Err(unknown("network")),
        }
    }
    Ok(networks)
}

fn network(value: &Value<'_>) -> Result<Network, Error> {
    let text = value.as_text().map(utf8).ok_or_else(|| unknown("network"))?;
    let (first, bits) = text.split_once('/').unwrap_or((text, ""));
    let first: IpAddr = first.parse().map_err(|_| unknown("network"))?;
    let bits = if bits.is_empty() { size(first) } else { bits.parse().map_err(|_| unknown("network"))? };
    if bits > size(first) { Err(unknown("network")) } else { Ok(Network(first, bits)) }
}

fn size(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The address as a number whose first bit is the address's first.
fn number_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn mask(bits: u32) -> u128 {
    if bits == 0 { 0 } else { u128::MAX << (128 - bits) }
}

impl Network {
    pub fn holds(&self, address: IpAddr) -> bool {
        self.0.is_ipv4() == address.is_ipv4() && (number_of(self.0) ^ number_of(address)) & mask(self.1) == 0
    }
}

pub fn address(value: &Value<'_>) -> Option<IpAddr> {
    utf8(value.as_text()?).parse().ok()
}

pub fn cidr<'a>(value: &Value<'a>, bits: &Value<'a>) -> Value<'a> {
    let (Some(address), Value::Int(bits)) = (address(value), bits) else { return Value::None };
    let Ok(bits) = u32::try_from(*bits) else { return Value::None };
    if bits > size(address) {
        return Value::None;
    }
    let first = number_of(address) & mask(bits);
    let text = match address {
        IpAddr::V4(_) => format!("{}/{bits}", std::net::Ipv4Addr::from_bits((first >> 96) as u32)),
        IpAddr::V6(_) => format!("{}/{bits}", compressed(Ipv6Addr::from_bits(first))),
    };
    Value::Text(text.into_bytes().into())
}

/// An address with its longest run of zeros left out, and never with a part in decimal digits.
fn compressed(address: Ipv6Addr) -> String {
    let segments = address.segments();
    let (mut best, mut run) = (0..0, 0..0);
    for (place, segment) in segments.iter().enumerate() {
        run = if *segment != 0 { place + 1..place + 1 } else { run.start..place + 1 };
        if run.len() > best.len() {
            best = run.clone();
        }
    }
    let join = |part: &[u16]| part.iter().map(|one| format!("{one:x}")).collect::<Vec<_>>().join(":");
    if best.len() < 2 {
        return join(&segments);
    }
    format!("{}::{}", join(&segments[..best.start]), join(&segments[best.end..]))
}
