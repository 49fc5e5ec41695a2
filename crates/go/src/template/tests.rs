//! What Go's templates make of these, recorded from docker's command line where it can be seen there.

use super::{Functions, Json, MissingKey, Value, execute, parse};

fn render(text: &str, json: &str) -> Result<String, String> {
    let json: Json = serde_json::from_str(json).unwrap();
    let template = parse(text, Functions::Values)?;
    execute(&template, &Value::untyped(&json), Functions::Values, MissingKey::NoValue)
}

const DATA: &str = r#"{"Name":"web","N":3,"F":1.5,"T":true,"L":["a","b","c"],"M":{"k":"v","a":"1"},"E":[],"Z":null,
    "S":{"In":{"X":"deep"}}}"#;

#[test]
fn values_print_as_go_prints_them() {
    for (text, expected) in [
        ("{{.Name}}", "web"),
        ("{{.N}} {{.F}} {{.T}}", "3 1.5 true"),
        ("{{.L}} {{.M}} {{.E}}", "[a b c] map[a:1 k:v] []"),
        ("{{.Z}} {{.Nope}} {{.Nope.More}}", "<no value> <no value> <no value>"),
        ("{{.S.In.X}} {{.S}}", "deep map[In:map[X:deep]]"),
        ("{{json .}}", &DATA.replace("\n    ", "")),
        ("{{json .L}} {{json .Name}} {{json .Nope}}", "[\"a\",\"b\",\"c\"] \"web\" null"),
        ("{{\"a\\tb\"}} {{`raw\\n`}} {{'x'}} {{0x10}} {{-1}}", "a\tb raw\\n 120 16 -1"),
        ("{{/* nothing */}}x{{- /* trimmed */ -}} y", "xy"),
        ("a {{- .N -}} b", "a3b"),
    ] {
        assert_eq!(render(text, DATA).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn control_structures_nest_and_scope() {
    for (text, expected) in [
        ("{{if .T}}yes{{else}}no{{end}}", "yes"),
        ("{{if .Z}}1{{else if .N}}2{{else}}3{{end}}", "2"),
        ("{{range .L}}{{.}},{{end}}", "a,b,c,"),
        ("{{range $i, $x := .L}}{{$i}}={{$x}} {{end}}", "0=a 1=b 2=c "),
        ("{{range $k, $v := .M}}{{$k}}:{{$v}};{{end}}", "a:1;k:v;"),
        ("{{range .E}}x{{else}}empty{{end}}", "empty"),
        ("{{range .L}}{{if eq . \"b\"}}{{continue}}{{end}}{{.}}{{end}}", "ac"),
        ("{{range .L}}{{if eq . \"b\"}}{{break}}{{end}}{{.}}{{end}}", "a"),
        ("{{with .S.In}}{{.X}}{{end}}", "deep"),
        ("{{with .Z}}x{{else}}y{{end}}", "y"),
        ("{{with .S}}{{$.Name}}{{end}}", "web"),
        ("{{$x := 1}}{{range .L}}{{$x = .}}{{end}}{{$x}}", "c"),
        ("{{$x := .N}}{{if true}}{{$x := 9}}{{$x}}{{end}}{{$x}}", "93"),
        ("{{define \"t\"}}[{{.}}]{{end}}{{template \"t\" .Name}}", "[web]"),
        ("{{block \"b\" .N}}<{{.}}>{{end}}", "<3>"),
        ("{{range 3}}{{.}}{{end}}", "012"),
    ] {
        assert_eq!(render(text, DATA).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn functions_are_go_s_and_docker_s() {
    for (text, expected) in [
        ("{{len .L}} {{index .L 1}} {{index .M \"k\"}} {{slice .Name 1 2}}", "3 b v e"),
        (
            "{{and 1 0}} {{or 0 2}} {{not true}} {{eq .N 1 3}} {{lt 1 2}} {{ge 1 2}}",
            "0 2 false true true false",
        ),
        (
            "{{printf \"%s-%05d|%-4s|%q|%v|%x|%.2f\" .Name .N \"a\" \"b\" .L 255 1.5}}",
            "web-00003|a   |\"b\"|[a b c]|ff|1.50",
        ),
        ("{{printf \"%d %s\" \"x\"}}", "%!d(string=x) %!s(MISSING)"),
        ("{{printf \"a\" 1}}", "a%!(EXTRA int=1)"),
        ("{{print 1 2 \"a\" \"b\" 3}}", "1 2ab3"),
        ("{{println .Name 1}}", "web 1\n"),
        ("{{upper .Name}} {{lower \"AB\"}} {{title \"ab cd\"}}", "WEB ab Ab Cd"),
        ("{{join .L \"-\"}} {{split \"a,b\" \",\"}}", "a-b-c [a b]"),
        ("{{pad .Name 1 2}}|{{pad \"\" 1 2}}|{{truncate .Name 2}}", " web  ||we"),
        ("{{.Name | printf \"%s!\" | upper}}", "WEB!"),
        ("{{(index .L 0)}} {{(.S).In.X}}", "a deep"),
        ("{{html \"<a>\"}} {{urlquery \"a b&\"}}", "&lt;a&gt; a+b%26"),
    ] {
        assert_eq!(render(text, DATA).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn errors_are_worded_as_go_words_them() {
    for (text, error) in [
        ("{{.Name", "template: :1: unclosed action"),
        ("{{foo}}", "template: :1: function \"foo\" not defined"),
        ("{{if .T}}", "template: :1: unexpected EOF"),
        ("{{end}}", "template: :1: unexpected {{end}}"),
        ("{{}}", "template: :1: missing value for command"),
        ("{{.Name.X}}", "template: :1:7: executing \"\" at <.Name.X>: can't evaluate field X in type string"),
        (
            "{{index .L 5}}",
            "template: :1:2: executing \"\" at <index .L 5>: error calling index: index out of range: 5",
        ),
        ("{{len .N}}", "template: :1:2: executing \"\" at <len .N>: error calling len: len of type int"),
        ("{{break}}", "template: :1: {{break}} outside {{range}}"),
    ] {
        assert_eq!(render(text, DATA).unwrap_err(), error, "{text}");
    }
}

#[test]
fn a_missing_key_can_be_an_error() {
    let template = parse("{{.A}}", Functions::Values).unwrap();
    let data = Value::untyped(&Json::Object(Vec::new()));
    assert_eq!(
        execute(&template, &data, Functions::Values, MissingKey::Error),
        Err("template: :1:2: executing \"\" at <.A>: map has no entry for key \"A\"".into())
    );
}

#[test]
fn errors_name_the_template() {
    let info = Value::Struct(std::rc::Rc::new(super::Struct {
        type_name: "logger.Info",
        pointer: true,
        fields: vec![("Name", Value::text("web"))],
        ..super::Struct::default()
    }));
    let rendered = |text| super::render("log-tag", text, &info);
    assert_eq!(rendered("{{.Name}}/{{upper .Name}}"), Ok("web/WEB".into()));
    // Recorded from Docker 28.5.2.
    assert_eq!(
        rendered("{{.Foo}}"),
        Err(r#"template: log-tag:1:2: executing "log-tag" at <.Foo>: can't evaluate field Foo in type *logger.Info"#.into())
    );
    assert_eq!(
        rendered("{{.Name.Foo}}"),
        Err(r#"template: log-tag:1:7: executing "log-tag" at <.Name.Foo>: can't evaluate field Foo in type string"#.into())
    );
    assert_eq!(rendered("{{"), Err("template: log-tag:1: unclosed action".into()));
}
