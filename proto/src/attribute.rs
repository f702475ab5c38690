//! Definitions of attributes: what the values of an attribute must be (rule C1). Made at headquarters, carried down
//! by 1110.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::{Attribute, AttributeValue, Content, Violations, validate::is_decimal};

/// What the values of one attribute must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttributeDefinition {
    /// The attribute's name.
    pub name: String,
    /// The rule.
    pub rule: AttributeRule,
}

/// What a value must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttributeRule {
    /// Text; one of these, unless there are none.
    Text(Vec<String>),
    /// A whole number within bounds.
    Integer(Option<i64>, Option<i64>),
    /// A decimal number within bounds, written out.
    Decimal(Option<String>, Option<String>),
    /// True or false.
    Boolean,
}

/// The definitions, by name, each name once, at most [`AttributeDefinitions::MAX`]. Attributes without a definition
/// are taken as they are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttributeDefinitions(Vec<AttributeDefinition>);

impl AttributeDefinition {
    /// Checks the definition itself.
    ///
    /// # Errors
    ///
    /// The fields that break a rule.
    pub fn validate(&self) -> Result<(), Violations> {
        const MAX_OPTIONS: usize = 200;
        let mut v = Violations::default();
        let is_text =
            |text: &str, max| !text.trim().is_empty() && text.chars().count() <= max && !text.contains('\0');
        if !is_text(&self.name, 60) {
            v.add("definition.name", "is not 1 to 60 characters without NUL");
        }
        match &self.rule {
            AttributeRule::Text(options) => {
                if options.len() > MAX_OPTIONS {
                    v.add("definition.options", format_args!("has more than {MAX_OPTIONS} entries"));
                }
                for (i, option) in options.iter().enumerate() {
                    if !is_text(option, 1000) {
                        v.add(
                            format_args!("definition.options[{i}]"),
                            "is not 1 to 1000 characters without NUL",
                        );
                    }
                }
            }
            AttributeRule::Integer(Some(minimum), Some(maximum)) if minimum > maximum => {
                v.add("definition.maximum", "is less than the minimum");
            }
            AttributeRule::Decimal(minimum, maximum) => {
                for (field, bound) in [("definition.minimum", minimum), ("definition.maximum", maximum)] {
                    if bound.as_deref().is_some_and(|bound| !is_decimal(bound)) {
                        v.add(field, "is not a decimal number, such as 12.50");
                    }
                }
                if let (Some(minimum), Some(maximum)) = (minimum, maximum)
                    && v.as_slice().is_empty()
                    && compare(minimum, maximum) == Ordering::Greater
                {
                    v.add("definition.maximum", "is less than the minimum");
                }
            }
            AttributeRule::Integer(..) | AttributeRule::Boolean => {}
        }
        v.or(())
    }

    /// What is wrong with a value, as a predicate.
    fn wrong(&self, value: &AttributeValue) -> Option<String> {
        match (&self.rule, value) {
            (AttributeRule::Text(options), AttributeValue::Text(text)) => {
                let known = options.is_empty() || options.contains(text);
                (!known).then(|| "is not one of the values that headquarters has defined".to_owned())
            }
            (AttributeRule::Integer(minimum, maximum), AttributeValue::Integer(number)) => {
                let low = minimum
                    .filter(|minimum| number < minimum)
                    .map(|minimum| format!("is less than {minimum}"));
                let high = || maximum.filter(|maximum| number > maximum);
                low.or_else(|| high().map(|maximum| format!("is more than {maximum}")))
            }
            (AttributeRule::Decimal(minimum, maximum), AttributeValue::Decimal(number)) => {
                let beyond = |bound: &Option<String>, side| {
                    bound.clone().filter(|bound| is_decimal(number) && compare(number, bound) == side)
                };
                let low = beyond(minimum, Ordering::Less).map(|minimum| format!("is less than {minimum}"));
                let high = || beyond(maximum, Ordering::Greater);
                low.or_else(|| high().map(|maximum| format!("is more than {maximum}")))
            }
            (AttributeRule::Boolean, AttributeValue::Boolean(_)) => None,
            (rule, _) => Some(format!("is not of the type {} that headquarters has defined", rule.name())),
        }
    }
}

impl AttributeRule {
    fn name(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Integer(..) => "integer",
            Self::Decimal(..) => "decimal",
            Self::Boolean => "boolean",
        }
    }
}

impl AttributeDefinitions {
    /// Most definitions there can be (rule Z3).
    pub const MAX: usize = 200;

    /// Adds a definition, or replaces the one of its name. False: there is no room.
    pub fn set(&mut self, definition: AttributeDefinition) -> bool {
        match self.0.binary_search_by(|known| known.name.cmp(&definition.name)) {
            Ok(place) => self.0[place] = definition,
            Err(_) if self.0.len() >= Self::MAX => return false,
            Err(place) => self.0.insert(place, definition),
        }
        true
    }

    /// Removes a definition. False: there is none of that name.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|known| known.name != name);
        self.0.len() < before
    }

    /// The definitions.
    pub fn iter(&self) -> std::slice::Iter<'_, AttributeDefinition> {
        self.0.iter()
    }

    /// Checks the attributes of a customer. Paths are relative to the customer.
    ///
    /// # Errors
    ///
    /// The attributes that break a definition.
    pub fn check(&self, content: &Content) -> Result<(), Violations> {
        let mut v = Violations::default();
        for (i, Attribute { name, value }) in content.attributes.iter().enumerate() {
            let rule = self.0.binary_search_by(|known| known.name.as_str().cmp(name)).ok();
            if let Some(wrong) = rule.and_then(|place| self.0[place].wrong(value)) {
                v.add(format_args!("attributes[{i}].value"), wrong);
            }
        }
        v.or(())
    }
}

impl FromIterator<AttributeDefinition> for AttributeDefinitions {
    /// Definitions beyond [`AttributeDefinitions::MAX`] are left out.
    fn from_iter<I: IntoIterator<Item = AttributeDefinition>>(definitions: I) -> Self {
        let mut all = Self::default();
        for definition in definitions {
            all.set(definition);
        }
        all
    }
}

/// Compares two decimal numbers that are written out, exactly.
fn compare(one: &str, other: &str) -> Ordering {
    fn parts(text: &str) -> (bool, &str, &str) {
        let (minus, unsigned) = text.strip_prefix('-').map_or((false, text), |unsigned| (true, unsigned));
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
        (minus && !(whole.is_empty() && fraction.is_empty()), whole, fraction)
    }
    let ((minus, whole, fraction), (other_minus, other_whole, other_fraction)) = (parts(one), parts(other));
    let magnitude = whole.len().cmp(&other_whole.len()).then_with(|| whole.cmp(other_whole));
    let magnitude = magnitude.then_with(|| fraction.cmp(other_fraction));
    match (minus, other_minus) {
        (false, false) => magnitude,
        (true, true) => magnitude.reverse(),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_compared_exactly() {
        for (less, more) in
            [("-10.5", "-10.49"), ("9", "10"), ("0.30", "0.31"), ("-1", "0"), ("0009.9", "10.0")]
        {
            assert_eq!(compare(less, more), Ordering::Less, "{less} {more}");
            assert_eq!(compare(more, less), Ordering::Greater, "{more} {less}");
        }
        assert_eq!(compare("-0.0", "0"), Ordering::Equal);
        assert_eq!(compare("1.50", "01.5"), Ordering::Equal);
    }

    #[test]
    fn c1_attributes_keep_to_their_definitions() {
        let define = |name: &str, rule| AttributeDefinition { name: name.to_owned(), rule };
        let definitions: AttributeDefinitions = [
            define("size", AttributeRule::Text(vec!["S".to_owned(), "L".to_owned()])),
            define("age", AttributeRule::Integer(Some(0), Some(150))),
            define("discount", AttributeRule::Decimal(Some("0".to_owned()), Some("99.5".to_owned()))),
            define("vip", AttributeRule::Boolean),
        ]
        .into_iter()
        .collect();
        assert!(definitions.iter().all(|definition| definition.validate().is_ok()));
        let text = |text: &str| AttributeValue::Text(text.to_owned());
        let decimal = |text: &str| AttributeValue::Decimal(text.to_owned());
        for (name, value, good) in [
            ("size", text("L"), true),
            ("size", text("XL"), false),
            ("size", AttributeValue::Integer(1), false),
            ("age", AttributeValue::Integer(150), true),
            ("age", AttributeValue::Integer(-1), false),
            ("discount", decimal("99.50"), true),
            ("discount", decimal("99.51"), false),
            ("discount", decimal("-0.01"), false),
            ("vip", AttributeValue::Boolean(true), true),
            ("vip", text("yes"), false),
            ("anything else", text("goes"), true),
        ] {
            let attributes = vec![Attribute { name: name.to_owned(), value }];
            let content = Content { attributes, ..Content::blank() };
            assert_eq!(definitions.check(&content).is_ok(), good, "{:?}", content.attributes);
        }
        for rule in [
            AttributeRule::Integer(Some(2), Some(1)),
            AttributeRule::Decimal(Some("1.2".to_owned()), Some("1.19".to_owned())),
            AttributeRule::Decimal(Some("x".to_owned()), None),
            AttributeRule::Text(vec![String::new()]),
        ] {
            assert!(define("bad", rule.clone()).validate().is_err(), "{rule:?}");
        }
    }
}
