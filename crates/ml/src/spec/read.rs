//! What may stand at the keys of a predictor that take values of several kinds, read so that an error says what is
//! allowed.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{
        Error, MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer, StrDeserializer},
    },
};

use super::{Encode, Encoder, Features, Impute, Imputer};

impl<'de> Deserialize<'de> for Features {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FeaturesVisitor)
    }
}

struct FeaturesVisitor;

impl<'de> Visitor<'de> for FeaturesVisitor {
    type Value = Features;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of columns or `{except: [column]}`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Features, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(Features::Named)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Features, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct AllBut {
            except: Vec<String>,
        }
        let AllBut { except } = AllBut::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Features::Except { except })
    }
}

impl<'de> Deserialize<'de> for Encode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EncodeVisitor)
    }
}

struct EncodeVisitor;

impl<'de> Visitor<'de> for EncodeVisitor {
    type Value = Encode;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "`one_hot`, `ordinal` or `target`, or of a date a list of its parts such as `[month, day_of_week]`",
        )
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Encode, E> {
        Encoder::deserialize(StrDeserializer::<E>::new(text)).map(Encode::By)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Encode, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(Encode::Parts)
    }
}

impl<'de> Deserialize<'de> for Impute {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ImputeVisitor)
    }
}

struct ImputeVisitor;

impl Visitor<'_> for ImputeVisitor {
    type Value = Impute;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a constant (a number, a text, true or false), `mean`, `median` or `most_frequent`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Impute, E> {
        // Any other text is a constant.
        let imputer = Imputer::deserialize(StrDeserializer::<E>::new(text));
        Ok(imputer.map_or_else(|_| Impute::Text(text.to_owned()), Impute::By))
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Impute, E> {
        Ok(Impute::Bool(truth))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Impute, E> {
        Ok(Impute::Number(number as f64))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Impute, E> {
        Ok(Impute::Number(number as f64))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Impute, E> {
        Ok(Impute::Number(number))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::DatePart;
    use super::*;

    fn said<T: for<'de> Deserialize<'de>>(value: Value) -> String {
        serde_json::from_value::<T>(value).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_is_written_is_read_and_written_again() {
        let read = |value: Value| serde_json::from_value::<Features>(value).unwrap();
        assert_eq!(read(json!(["a", "b"])), Features::Named(vec!["a".into(), "b".into()]));
        assert_eq!(read(json!({"except": ["a"]})), Features::Except { except: vec!["a".into()] });
        let read = |value: Value| serde_json::from_value::<Encode>(value).unwrap();
        assert_eq!(read(json!("one_hot")), Encode::By(Encoder::OneHot));
        assert_eq!(read(json!(["day", "hour"])), Encode::Parts(vec![DatePart::Day, DatePart::Hour]));
        let read = |value: Value| serde_json::from_value::<Impute>(value).unwrap();
        for (value, expected) in [
            (json!("median"), Impute::By(Imputer::Median)),
            (json!("unknown"), Impute::Text("unknown".into())),
            (json!(-1), Impute::Number(-1.0)),
            (json!(0), Impute::Number(0.0)),
            (json!(0.5), Impute::Number(0.5)),
            (json!(true), Impute::Bool(true)),
        ] {
            assert_eq!(read(value), expected);
            assert_eq!(read(serde_json::to_value(&expected).unwrap()), expected);
        }
    }

    #[test]
    fn what_is_wrong_says_what_is_allowed() {
        let list = "a list of columns or `{except: [column]}`";
        for value in [json!("weekday"), json!(5), json!(null)] {
            let said = said::<Features>(value.clone());
            assert!(said.contains(list), "{value}: {said}");
        }
        assert!(said::<Features>(json!({"excep": ["a"]})).starts_with("unknown field `excep`"));
        assert!(said::<Features>(json!([1])).contains("expected a string"));
        for value in [json!(5), json!(true), json!({"by": "one_hot"}), json!(null)] {
            let said = said::<Encode>(value.clone());
            assert!(said.contains("`one_hot`, `ordinal` or `target`, or of a date"), "{value}: {said}");
        }
        let one = said::<Encode>(json!("one_hott"));
        assert_eq!(one, "unknown variant `one_hott`, expected one of `one_hot`, `ordinal`, `target`");
        assert!(said::<Encode>(json!(["month", "wek"])).starts_with("unknown variant `wek`"));
        for value in [json!([0]), json!({}), json!(null)] {
            let said = said::<Impute>(value.clone());
            assert!(said.contains("`mean`, `median` or `most_frequent`"), "{value}: {said}");
        }
    }
}
