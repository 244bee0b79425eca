//! Orders of a shop as CSV: the columns of the sample project's table `orders`.

use std::io::{self, Write};

use crate::{
    Random,
    text::{fixed, number, timestamp},
};

/// The first line of [`write_orders`].
pub const HEADER: &str =
    "id,user_id,city_id,product_id,quantity,unit_price,ordered_at,updated_at,status,note\n";

/// 2015-01-01T00:00:00
const START: i64 = 1_420_070_400;
/// Products there are; prices go with them.
pub const PRODUCTS: u64 = 5_000;
pub const CITIES: u64 = 1_000;
pub const USERS: u64 = 200_000;

const STATUSES: &[(&str, u32)] = &[
    ("delivered", 70),
    ("shipped", 12),
    ("paid", 8),
    ("Delivered", 4),
    ("cancelled", 3),
    ("delivered ", 2),
    ("CANCELLED", 1),
];

/// A note is text with all that CSV has to quote.
const NOTES: &[(&str, u32)] = &[
    ("", 80),
    ("leave at the door", 8),
    ("\"ring twice, then wait\"", 5),
    ("\"she said \"\"after six\"\"\"", 3),
    ("\"first line\nsecond line\"", 1),
    ("señal: portón azul", 3),
];

/// Writes a header and `rows` orders, the same ones for the same `seed`; returns the bytes written.
pub fn write_orders(out: &mut impl Write, rows: u64, seed: u64) -> io::Result<u64> {
    let mut random = Random::new(seed);
    let mut buffer = Vec::with_capacity(256);
    out.write_all(HEADER.as_bytes())?;
    let mut bytes = HEADER.len() as u64;
    let mut at = START;
    for id in 1..=rows {
        buffer.clear();
        at += random.below(40) as i64;
        order(&mut buffer, &mut random, id, at);
        out.write_all(&buffer)?;
        bytes += buffer.len() as u64;
    }
    Ok(bytes)
}

fn order(out: &mut Vec<u8>, random: &mut Random, id: u64, at: i64) {
    let product = 1 + random.below(PRODUCTS);
    let ids = [id, 1 + random.below(USERS), 1 + random.below(CITIES), product, 1 + random.below(5)];
    for value in ids {
        number(out, value, 1);
        out.push(b',');
    }
    let list_cents = 100 + product * 7919 % 90_000;
    fixed(out, (list_cents * (100 - 5 * random.below(4)) / 100) as i64, 2);
    out.push(b',');
    timestamp(out, at, b' ');
    out.push(b',');
    timestamp(out, at + random.below(500_000) as i64, b' ');
    for text in [random.weighted(STATUSES), random.weighted(NOTES)] {
        out.push(b',');
        out.extend_from_slice(text.as_bytes());
    }
    out.push(b'\n');
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_orders_and_another_seed_others() {
        let orders = |seed| {
            let mut out = Vec::new();
            assert_eq!(write_orders(&mut out, 50, seed).unwrap(), out.len() as u64);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(orders(7), orders(7));
        assert_ne!(orders(7), orders(8));
        let first = orders(7).lines().nth(1).unwrap().to_owned();
        assert_eq!(first.split(',').count(), HEADER.split(',').count());
        assert!(first.starts_with("1,"), "{first}");
    }
}
