//! Functions that clean, in a project: what did not fit is in the report, and other null tokens make the
//! tables again that they decide about.

use serde_json::json;

use crate::support::{Place, step};

const PROJECT: &str =
    "name: clean\nsources:\n  people:\n    type: file\n    url: people.csv\n    columns: {age: text}\n";

#[test]
fn misfits_are_told_and_null_tokens_are_the_projects() {
    let place = Place::project(&[
        ("lagar.yaml", PROJECT),
        ("people.csv", "id,age,city\n1,41,  New   York \n2,--,N/A\n3,old,Lima\n4,,--\n5,39.0,Lima\n"),
        (
            "trusted/people.sql",
            "-- One row a person.\nSELECT id, try_int(age) AS age, clean(city) AS city FROM raw.people\n",
        ),
        ("trusted/ids.sql", "-- The persons' numbers.\nSELECT id FROM raw.people\n"),
    ]);
    let report = place.run(&[]);
    let told = json!(["try_int(age): 2 of 4 values did not fit and are null"]);
    assert_eq!(step(&report, "trusted.people")["notes"], told, "{report}");
    assert_eq!(step(&report, "trusted.ids")["notes"], json!([]), "{report}");
    let all = "SELECT id, age, city FROM trusted.people ORDER BY id";
    let person = |id: u64, age: Option<u64>, city: Option<&str>| json!({"id": id, "age": age, "city": city});
    assert_eq!(
        place.rows(all),
        [
            person(1, Some(41), Some("New York")),
            person(2, None, None),
            person(3, None, Some("Lima")),
            person(4, None, Some("--")),
            person(5, Some(39), Some("Lima")),
        ]
    );
    assert_eq!(place.run(&[])["status"], "nothing_new");

    // Only the table that knows them is made again.
    place.write("lagar.yaml", format!("{PROJECT}null_tokens: ['--', '']\n"));
    let report = place.run(&[]);
    let told = json!(["try_int(age): 1 of 3 values did not fit and are null"]);
    assert_eq!(step(&report, "trusted.people")["notes"], told, "{report}");
    assert_eq!(step(&report, "trusted.ids")["status"], "nothing_new", "{report}");
    let rows = place.rows(all);
    assert_eq!((&rows[1], &rows[3]), (&person(2, None, Some("N/A")), &person(4, None, None)));
    assert_eq!(place.run(&[])["status"], "nothing_new");

    // The functions are listed where one looks for them.
    let shown = place.lagar(&["sql", "--format", "json", "SHOW FUNCTIONS LIKE 'zip_code'"]);
    assert!(shown.code == 0 && shown.stdout.contains("zip_code(text)"), "{}{}", shown.stdout, shown.stderr);
}
