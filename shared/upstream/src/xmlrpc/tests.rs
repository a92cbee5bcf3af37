use serde_json::json;

use super::*;

fn response(value: &str) -> String {
    format!(
        "<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n{value}\n</param>\n</params>\n</methodResponse>\n"
    )
}

fn read(value: &str) -> Value {
    answer("test", response(value).as_bytes()).unwrap().unwrap()
}

/// What Python's `xmlrpc.client` and Koji's own marshaller write.
#[test]
fn every_type_that_koji_sends_is_read() {
    assert_eq!(read("<value><nil/></value>"), json!(null));
    assert_eq!(read("<value><i8>5000000000</i8></value>"), json!(5_000_000_000_i64));
    assert_eq!(read("<value><int>-3</int></value>"), json!(-3));
    assert_eq!(read("<value><boolean>1</boolean></value>"), json!(true));
    assert_eq!(read("<value><double>1662355194.25</double></value>"), json!(1_662_355_194.25));
    assert_eq!(read("<value><string>a &lt;fault&gt; &amp; b</string></value>"), json!("a <fault> & b"));
    assert_eq!(read("<value>untyped</value>"), json!("untyped"));
    assert_eq!(read("<value><string></string></value>"), json!(""));
    assert_eq!(read("<value><array><data>\n</data></array></value>"), json!([]));
    assert_eq!(read("<value><struct>\n</struct></value>"), json!({}));
    let nested = "<value><struct>\n<member>\n<name>extra</name>\n<value><array><data>\n<value><nil/></value>\n<value><struct>\n\
                  <member>\n<name>x</name>\n<value><string>y</string></value>\n</member>\n</struct></value>\n</data></array></value>\n\
                  </member>\n</struct></value>";
    assert_eq!(read(nested), json!({ "extra": [null, { "x": "y" }] }));
}

#[test]
fn a_fault_is_read_whatever_the_order_of_its_members() {
    let fault = "<?xml version='1.0'?>\n<methodResponse>\n<fault>\n<value><struct>\n\
                 <member>\n<name>faultString</name>\n<value><string>No such build: 'x'</string></value>\n</member>\n\
                 <member>\n<name>faultCode</name>\n<value><int>1000</int></value>\n</member>\n\
                 <member>\n<name>traceback</name>\n<value><nil/></value>\n</member>\n</struct></value>\n</fault>\n</methodResponse>";
    let fault = answer("test", fault.as_bytes()).unwrap().unwrap_err();
    assert_eq!(fault, Fault { code: 1000, text: "No such build: 'x'".to_owned() });
}

#[test]
fn what_is_no_answer_is_an_error_that_does_not_quote_it() {
    let secret = "s3cret-in-the-body";
    let bodies = [
        String::new(),
        format!("{secret} <html>"),
        format!("<html><body>{secret}</body></html>"),
        response("<value><int>not a number</int></value>"),
        response(""),
        response("<value><int>1</int></value>").replace("</methodResponse>", ""),
        response("<value><int>1</int></value></value>"),
        "<methodResponse><fault><value><int>1</int></value></fault></methodResponse>".to_owned(),
        format!("<!DOCTYPE x [<!ENTITY a \"{secret}\">]>{}", response("<value>&a;</value>")),
        response("<value><string a=\"/\">x</string></value>"),
        response("<value><string>&unknown;</string></value>"),
        "<".repeat(100_000),
    ];
    for body in bodies {
        let error = answer("test", body.as_bytes()).unwrap_err();
        assert!(matches!(error, Error::WrongShape { .. }), "{error:?}");
        assert!(!error.to_string().contains(secret), "{error}");
        assert!(error.to_string().len() < 300, "{error}");
    }
    assert!(answer("test", b"\xff\xfe").is_err());
}

#[test]
fn nesting_has_a_limit_that_the_parser_bears() {
    let nested = |levels: usize| {
        let open = "<value><array><data>".repeat(levels);
        response(&format!("{open}<value><int>1</int></value>{}", "</data></array></value>".repeat(levels)))
    };
    assert!(answer("test", nested(35).as_bytes()).is_ok());
    let error = answer("test", nested(50_000).as_bytes()).unwrap_err();
    assert!(error.to_string().contains("nested too deeply"), "{error}");
}

#[test]
fn an_answer_among_many_may_be_a_fault() {
    let answers = json!([[{ "id": 1 }], { "faultCode": 1000, "faultString": "no", "traceback": [] }, [null]]);
    let read = multi_answer("test", answers.clone(), 3).unwrap();
    assert_eq!(read[0], Ok(json!({ "id": 1 })));
    assert_eq!(read[1], Err(Fault { code: 1000, text: "no".to_owned() }));
    assert_eq!(read[2], Ok(Value::Null));
    assert!(multi_answer("test", answers, 4).is_err(), "one answer is missing");
    assert!(multi_answer("test", json!([[1, 2]]), 1).is_err());
    assert!(multi_answer("test", json!({ "faultCode": 1 }), 1).is_err());
}

#[test]
fn named_arguments_are_marked_as_koji_wants_them() {
    let call = call("listBuilds", vec![named([("type", Xml::String("a<b".to_owned()))])]).unwrap();
    assert!(call.contains("<name>__starstar</name><value><boolean>1</boolean></value>"), "{call}");
    assert!(call.contains("a&lt;b"), "{call}");
}
