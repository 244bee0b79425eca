//! Service requests of a city as an open-data API sends them: one JSON object a line, every value a
//! string, missing fields left out, and the dirt of many hands.

use std::io::{self, Write};

use crate::{
    Random,
    text::{DAY, fixed, number, timestamp},
};

/// The text columns of a request, in the order in which a row has them; [`NUMBERS`], [`TIMES`] and
/// `location` come on top. All are strings in the JSON.
pub const TEXTS: &[&str] = &[
    "agency",
    "agency_name",
    "complaint_type",
    "descriptor",
    "location_type",
    "incident_zip",
    "incident_address",
    "street_name",
    "cross_street_1",
    "cross_street_2",
    "intersection_street_1",
    "intersection_street_2",
    "address_type",
    "city",
    "landmark",
    "facility_type",
    "status",
    "resolution_description",
    "community_board",
    "bbl",
    "borough",
    "open_data_channel_type",
    "park_facility_name",
    "park_borough",
    "vehicle_type",
    "taxi_company_borough",
    "taxi_pick_up_location",
    "bridge_highway_name",
    "bridge_highway_direction",
    "road_ramp",
    "bridge_highway_segment",
];
/// Strings that hold whole or fractional numbers.
pub const NUMBERS: &[&str] =
    &["unique_key", "x_coordinate_state_plane", "y_coordinate_state_plane", "latitude", "longitude"];
/// Strings that hold local times, `2011-08-27T10:58:43.000`.
pub const TIMES: &[&str] = &["created_date", "closed_date", "due_date", "resolution_action_updated_date"];

/// 2010-01-01T00:00:00
const START: i64 = 1_262_304_000;
const DAYS: i64 = 4_000;
/// Keys count up from here.
const FIRST_KEY: u64 = 15_000_000;
/// Of 10 000 rows, so many are an earlier request again, as its update sends it.
const REPEATED: u64 = 400;

struct Agency {
    code: &'static str,
    name: &'static str,
    topics: &'static [Topic],
}

struct Topic {
    complaint: &'static str,
    descriptors: &'static [&'static str],
    place: &'static str,
}

const AGENCIES: &[(Agency, u32)] = &[
    (
        Agency {
            code: "HPD",
            name: "Department of Housing Preservation and Development",
            topics: &[
                Topic {
                    complaint: "HEAT/HOT WATER",
                    descriptors: &["ENTIRE BUILDING", "APARTMENT ONLY"],
                    place: "RESIDENTIAL BUILDING",
                },
                Topic {
                    complaint: "PAINT - PLASTER",
                    descriptors: &["CEILING", "WALLS", "WINDOW FRAME"],
                    place: "RESIDENTIAL BUILDING",
                },
                Topic {
                    complaint: "PLUMBING",
                    descriptors: &["WATER-LEAKS", "BASIN/SINK", "TOILET", "BATHTUB/SHOWER"],
                    place: "RESIDENTIAL BUILDING",
                },
            ],
        },
        27,
    ),
    (
        Agency {
            code: "NYPD",
            name: "New York City Police Department",
            topics: &[
                Topic {
                    complaint: "Noise - Residential",
                    descriptors: &["Loud Music/Party", "Banging/Pounding", "Loud Talking", "Loud Television"],
                    place: "Residential Building/House",
                },
                Topic {
                    complaint: "Noise - Street/Sidewalk",
                    descriptors: &["Loud Music/Party", "Loud Talking"],
                    place: "Street/Sidewalk",
                },
                Topic {
                    complaint: "Illegal Parking",
                    descriptors: &[
                        "Blocked Hydrant",
                        "Posted Parking Sign Violation",
                        "Double Parked Blocking Traffic",
                    ],
                    place: "Street/Sidewalk",
                },
                Topic {
                    complaint: "Blocked Driveway",
                    descriptors: &["No Access", "Partial Access"],
                    place: "Street/Sidewalk",
                },
            ],
        },
        25,
    ),
    (
        Agency {
            code: "DOT",
            name: "Department of Transportation",
            topics: &[
                Topic {
                    complaint: "Street Condition",
                    descriptors: &[
                        "Pothole",
                        "Cave-in",
                        "Defective Hardware",
                        "Rough, Pitted or Cracked Roads",
                    ],
                    place: "Street",
                },
                Topic {
                    complaint: "Street Light Condition",
                    descriptors: &["Street Light Out", "Street Light Cycling", "Lamppost Damaged"],
                    place: "Street",
                },
            ],
        },
        14,
    ),
    (
        Agency {
            code: "DSNY",
            name: "Department of Sanitation",
            topics: &[
                Topic {
                    complaint: "Missed Collection (All Materials)",
                    descriptors: &["1 Missed Collection", "2R Bulk-Missed Recy Collection"],
                    place: "Sidewalk",
                },
                Topic { complaint: "Graffiti", descriptors: &["Graffiti"], place: "Mixed Use" },
            ],
        },
        9,
    ),
    (
        Agency {
            code: "DEP",
            name: "Department of Environmental Protection",
            topics: &[
                Topic {
                    complaint: "Water System",
                    descriptors: &["Hydrant Running (WC3)", "Leak (Use Comments) (WA2)", "No Water (WNW)"],
                    place: "Street",
                },
                Topic {
                    complaint: "Noise",
                    descriptors: &[
                        "Noise: Construction Before/After Hours (NM1)",
                        "Noise, Barking Dog (NR5)",
                    ],
                    place: "Construction Site",
                },
            ],
        },
        8,
    ),
    (
        Agency {
            code: "DOB",
            name: "Department of Buildings",
            topics: &[Topic {
                complaint: "General Construction/Plumbing",
                descriptors: &["Failure To Maintain", "Illegal Conversion Of Residential Building/Space"],
                place: "Building (Non-Residential)",
            }],
        },
        6,
    ),
    (
        Agency {
            code: "DPR",
            name: "Department of Parks and Recreation",
            topics: &[Topic {
                complaint: "Damaged Tree",
                descriptors: &[
                    "Branch or Limb Has Fallen Down",
                    "Tree Leaning/Uprooted",
                    "Entire Tree Has Fallen Down",
                ],
                place: "Street",
            }],
        },
        5,
    ),
    (
        Agency {
            code: "DOHMH",
            name: "Department of Health and Mental Hygiene",
            topics: &[Topic {
                complaint: "Rodent",
                descriptors: &["Rat Sighting", "Mouse Sighting", "Condition Attracting Rodents"],
                place: "3+ Family Apt. Building",
            }],
        },
        5,
    ),
    (
        Agency {
            code: "TLC",
            name: "Taxi and Limousine Commission",
            topics: &[Topic {
                complaint: "Taxi Complaint",
                descriptors: &["Driver Complaint", "Insurance Information Requested"],
                place: "Street",
            }],
        },
        1,
    ),
];

/// What scanners leave in a form field. It is data, and must come through as data.
const JUNK_COMPLAINTS: &[&str] =
    &["../../WEB-INF/web.xml;x=", "ZTESTINT", "'; DROP TABLE requests; --", "<b>Noise</b>"];

/// Name, cities as people typed them, first digits of the zip, community boards, corner (latitude, longitude in 10⁻⁶ degrees).
struct Borough {
    name: &'static str,
    cities: &'static [&'static str],
    zip: u64,
    boards: u64,
    corner: (i64, i64),
}

const BOROUGHS: &[(Borough, u32)] = &[
    (
        Borough {
            name: "BROOKLYN",
            cities: &["BROOKLYN", "Brooklyn", "BROOKLYN "],
            zip: 11_201,
            boards: 18,
            corner: (40_570_000, -74_030_000),
        },
        30,
    ),
    (
        Borough {
            name: "QUEENS",
            cities: &["JAMAICA", "Jamaica", "ASTORIA", "FLUSHING", "RIDGEWOOD", "LONG ISLAND CITY"],
            zip: 11_354,
            boards: 14,
            corner: (40_600_000, -73_940_000),
        },
        23,
    ),
    (
        Borough {
            name: "MANHATTAN",
            cities: &["NEW YORK", "New York", "MANHATTAN"],
            zip: 10_001,
            boards: 12,
            corner: (40_700_000, -74_010_000),
        },
        20,
    ),
    (
        Borough {
            name: "BRONX",
            cities: &["BRONX", "Bronx"],
            zip: 10_451,
            boards: 12,
            corner: (40_800_000, -73_920_000),
        },
        17,
    ),
    (
        Borough {
            name: "STATEN ISLAND",
            cities: &["STATEN ISLAND", "Staten Island"],
            zip: 10_301,
            boards: 3,
            corner: (40_510_000, -74_230_000),
        },
        5,
    ),
    (
        Borough {
            name: "Unspecified",
            cities: &["NA", "nan", "UNKNOWN", "N/A", "Peña Blanca"],
            zip: 0,
            boards: 0,
            corner: (40_700_000, -74_000_000),
        },
        5,
    ),
];

const STREETS: &[&str] = &[
    "NOBLE AVENUE",
    "EAST  172 STREET",
    "ATLANTIC AVENUE",
    "GRAND CONCOURSE",
    "WEST   45 STREET",
    "JAMAICA AVENUE",
    "OCEAN PARKWAY",
    "BROADWAY",
    "HYLAN BOULEVARD",
    "EAST   30 STREET",
    "FLATBUSH AVENUE",
    "NORTHERN BOULEVARD",
    "ST. JOHN'S PLACE",
    "AVENUE OF THE AMERICAS",
    "EASTERN PARKWAY",
    "MYRTLE AVENUE",
    "ROOSEVELT AVENUE",
    "TREMONT AVENUE",
    "FOREST AVENUE",
    "CALLE \\\"LOS AÑOS\\\"",
];

const STATUSES: &[(&str, u32)] = &[
    ("Closed", 9_500),
    ("Pending", 210),
    ("Open", 130),
    ("Assigned", 80),
    ("In Progress", 50),
    ("Started", 10),
    ("Email Sent", 10),
    ("Unspecified", 10),
];

const RESOLUTIONS: &[&str] = &[
    "An officer went to the address and saw nothing that needed action. The case is closed.",
    "The complaint was looked at by an inspector, who found the condition corrected by the owner. If it comes back, please file a new request and give the number of this one.",
    "An inspector came by and nobody opened. A notice with a telephone number was left at the door; call within fourteen days to agree on another visit, otherwise the case is closed without result.",
    "This request repeats one that is open already. It was joined with that one, and its state is shown there.",
    "The agency needs more time than the usual thirty days, because the work has to wait for a permit of another department. The next change of state is expected with the next quarterly plan, and it will be shown here.",
    "Repaired on the day of the report.",
    "The owner was fined. The violation and the date by which it must be corrected are listed in the public register of the agency under the number of the building.",
    "The place given was not found. Please file again with a house number or a crossing of two streets.",
];

/// Writes `rows` requests, the same ones for the same `seed`; returns the bytes written.
pub fn write(out: &mut impl Write, rows: u64, seed: u64) -> io::Result<u64> {
    let mut random = Random::new(seed);
    let mut row = Row { text: Vec::with_capacity(4096) };
    let mut bytes = 0;
    for index in 0..rows {
        row.text.clear();
        request(&mut row, &mut random, index);
        out.write_all(&row.text)?;
        bytes += row.text.len() as u64;
    }
    Ok(bytes)
}

/// One JSON object being written.
struct Row {
    text: Vec<u8>,
}

impl Row {
    /// A field whose value `write` appends; what it appends must need no escape.
    fn field(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.text.push(if self.text.is_empty() { b'{' } else { b',' });
        self.text.push(b'"');
        self.text.extend_from_slice(name.as_bytes());
        self.text.extend_from_slice(b"\":\"");
        write(&mut self.text);
        self.text.push(b'"');
    }

    fn text(&mut self, name: &str, value: &str) {
        self.field(name, |out| out.extend_from_slice(value.as_bytes()));
    }

    fn time(&mut self, name: &str, seconds: i64) {
        self.field(name, |out| {
            timestamp(out, seconds, b'T');
            out.extend_from_slice(b".000");
        });
    }

    fn end(&mut self) {
        self.text.extend_from_slice(b"}\n");
    }
}

fn request(row: &mut Row, random: &mut Random, index: u64) {
    let repeats = index > 0 && random.chance(REPEATED);
    let key = if repeats { random.below(index) } else { index };
    // What belongs to the key is drawn from the key, so that a repeated request has it again.
    let mut of_key = Random::new(key.wrapping_mul(0x5851_F42D_4C95_7F2D));
    let agency = of_key.weighted(AGENCIES);
    let borough = of_key.weighted(BOROUGHS);
    let mut created = START + of_key.below((DAYS * DAY) as u64) as i64;
    if matches!(agency.code, "HPD" | "DOHMH") {
        created -= created.rem_euclid(DAY);
    }
    row.field("unique_key", |out| number(out, FIRST_KEY + key, 1));
    times(row, random, created);
    what(row, random, agency);
    place(row, random, borough);
    state(row, random, created);
    seldom(row, random, agency);
    coordinates(row, random, borough);
    row.end();
}

fn times(row: &mut Row, random: &mut Random, created: i64) {
    row.time("created_date", created);
    if random.chance(265) {
        return;
    }
    let closed = match random.below(1000) {
        0 => -2_208_988_800,                                // 1900-01-01
        1 => 4_102_444_800,                                 // 2100-01-01
        2..=6 => created - random.below(DAY as u64) as i64, // closed before it was created
        _ => created + random.below(30 * DAY as u64) as i64,
    };
    row.time("closed_date", closed);
}

fn what(row: &mut Row, random: &mut Random, agency: &Agency) {
    row.text("agency", agency.code);
    row.text("agency_name", agency.name);
    let topic = &agency.topics[random.below(agency.topics.len() as u64) as usize];
    let complaint = if random.chance(3) { random.pick(JUNK_COMPLAINTS) } else { topic.complaint };
    row.text("complaint_type", complaint);
    if !random.chance(114) {
        row.text("descriptor", random.pick(topic.descriptors));
    }
    if !random.chance(2_505) {
        row.text("location_type", topic.place);
    }
}

fn place(row: &mut Row, random: &mut Random, borough: &Borough) {
    if !random.chance(314) {
        let zip = borough.zip + random.below(60);
        match random.below(1_000) {
            0 => row.text("incident_zip", "N/A"),
            1 => row.text("incident_zip", "*"),
            2..=9 => row.field("incident_zip", |out| {
                number(out, zip, 5);
                out.extend_from_slice(b".0");
            }),
            _ => row.field("incident_zip", |out| number(out, zip, 5)),
        }
    }
    let street = random.pick(STREETS);
    if !random.chance(1_866) {
        let house = 1 + random.below(2_400);
        row.field("incident_address", |out| {
            number(out, house, 1);
            out.push(b' ');
            out.extend_from_slice(street.as_bytes());
        });
        row.text("street_name", street);
    }
    for name in ["cross_street_1", "cross_street_2"] {
        if !random.chance(3_320) {
            row.text(name, random.pick(STREETS));
        }
    }
    if random.chance(1_864) {
        row.text("intersection_street_1", street);
        row.text("intersection_street_2", random.pick(STREETS));
    }
    if !random.chance(748) {
        row.text(
            "address_type",
            random.pick(&["ADDRESS", "ADDRESS", "ADDRESS", "INTERSECTION", "BLOCKFACE", "PLACENAME"]),
        );
    }
    if !random.chance(613) {
        row.text("city", random.pick(borough.cities));
    }
    if random.chance(900) {
        row.text("landmark", street);
    }
    if random.chance(2_447) {
        row.text("facility_type", random.pick(&["N/A", "N/A", "Precinct", "DSNY Garage", "School"]));
    }
}

fn state(row: &mut Row, random: &mut Random, created: i64) {
    let status = random.weighted(STATUSES);
    row.text("status", status);
    if random.chance(3_836) {
        row.time("due_date", created + 30 * DAY);
    }
    if !random.chance(222) {
        row.text("resolution_description", random.pick(RESOLUTIONS));
    }
    if !random.chance(128) {
        row.time("resolution_action_updated_date", created + random.below(40 * DAY as u64) as i64);
    }
}

/// What most requests leave out, and the columns that are nearly always the same.
fn seldom(row: &mut Row, random: &mut Random, agency: &Agency) {
    row.text(
        "open_data_channel_type",
        random.pick(&["PHONE", "PHONE", "ONLINE", "MOBILE", "UNKNOWN", "OTHER"]),
    );
    let park = if random.chance(30) { "Parque Niños Héroes" } else { "Unspecified" };
    row.text("park_facility_name", park);
    if agency.code == "TLC" {
        row.text("vehicle_type", random.pick(&["Taxi", "Car Service", "Ambulette / Paratransit"]));
        row.text("taxi_pick_up_location", "Other");
    }
    if random.chance(25) {
        row.text("bridge_highway_name", random.pick(&["BQE/Gowanus Expwy", "Belt Pkwy", "FDR Dr"]));
        row.text("bridge_highway_direction", random.pick(&["North/Bronx Bound", "East/Queens Bound"]));
        row.text("road_ramp", random.pick(&["Roadway", "Ramp"]));
        row.text("bridge_highway_segment", "Exit 29 - Exit 30");
    }
}

fn coordinates(row: &mut Row, random: &mut Random, borough: &Borough) {
    let board = 1 + random.below(borough.boards.max(1));
    row.field("community_board", |out| {
        number(out, if borough.boards == 0 { 0 } else { board }, if borough.boards == 0 { 1 } else { 2 });
        out.push(b' ');
        out.extend_from_slice(borough.name.as_bytes());
    });
    if !random.chance(2_514) {
        let lot = 1_000_000_000 + random.below(4_999_999_999);
        if random.chance(50) {
            row.text("bbl", "1.009620097E9");
        } else {
            row.field("bbl", |out| number(out, lot, 10));
        }
    }
    row.text("borough", borough.name);
    row.text("park_borough", borough.name);
    if random.chance(903) {
        return;
    }
    let (latitude, longitude) =
        (borough.corner.0 + random.below(120_000) as i64, borough.corner.1 + random.below(160_000) as i64);
    // Feet from the corner of the state's grid; good enough to look like it.
    row.field("x_coordinate_state_plane", |out| {
        number(out, ((longitude + 77_000_000) * 100 / 291) as u64, 1)
    });
    row.field("y_coordinate_state_plane", |out| number(out, ((latitude - 40_000_000) * 100 / 274) as u64, 1));
    let tail = random.below(100_000_000);
    let digits = |out: &mut Vec<u8>, value: i64| {
        fixed(out, value, 6);
        number(out, tail, 8);
    };
    row.field("latitude", |out| digits(out, latitude));
    row.field("longitude", |out| digits(out, longitude));
    row.text.extend_from_slice(b",\"location\":{\"latitude\":\"");
    digits(&mut row.text, latitude);
    row.text.extend_from_slice(b"\",\"longitude\":\"");
    digits(&mut row.text, longitude);
    row.text.extend_from_slice(
        br#"","human_address":"{\"address\": \"\", \"city\": \"\", \"state\": \"\", \"zip\": \"\"}"}"#,
    );
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn rows(count: u64, seed: u64) -> String {
        let mut out = Vec::new();
        assert_eq!(write(&mut out, count, seed).unwrap(), out.len() as u64);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_seed_gives_the_same_rows_and_another_seed_others() {
        assert_eq!(rows(200, 7), rows(200, 7));
        assert_ne!(rows(200, 7), rows(200, 8));
    }

    #[test]
    fn a_row_is_about_as_long_as_a_real_one() {
        let text = rows(5_000, 1);
        let mean = text.len() / 5_000;
        assert!((1_100..1_300).contains(&mean), "{mean} bytes a row");
    }

    #[test]
    fn every_row_is_an_object_with_known_fields_only() {
        let known: Vec<&str> =
            TEXTS.iter().chain(NUMBERS).chain(TIMES).copied().chain(["location"]).collect();
        for line in rows(2_000, 3).lines() {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            for (name, value) in row.as_object().unwrap() {
                assert!(known.contains(&name.as_str()), "{name}");
                assert!(value.is_string() || name == "location", "{name}: {value}");
            }
            assert!(row.get("unique_key").is_some() && row.get("borough").is_some());
        }
    }

    #[test]
    fn some_keys_come_again_with_the_same_time_of_creation() {
        let mut seen = std::collections::BTreeMap::new();
        let mut again = 0;
        for line in rows(5_000, 5).lines() {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            let same = [row["created_date"].clone(), row["agency"].clone(), row["borough"].clone()];
            if let Some(first) = seen.insert(row["unique_key"].to_string(), same.clone()) {
                assert_eq!(first, same);
                again += 1;
            }
        }
        assert!((120..300).contains(&again), "{again}");
    }
}
