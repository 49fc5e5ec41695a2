use super::{records::Role, *};

async fn accounts() -> (Arc<Store>, Accounts, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let (store, state) = Store::open(&dir.path().join("db"), State::load).unwrap();
    let store = Arc::new(store);
    let accounts = tokio::task::spawn_blocking({
        let store = store.clone();
        move || Accounts::new(store, state).unwrap()
    });
    (store, accounts.await.unwrap(), dir)
}

#[tokio::test]
async fn roles_include_the_ones_before_and_end_with_the_user() {
    let (store, accounts, _dir) = accounts().await;
    accounts.add_user("root", "password1", true).await.unwrap();
    accounts.add_user("bob", "password1", false).await.unwrap();
    accounts.add_project("team", false, "root").await.unwrap();
    let allows = |name: &str, action| accounts.read().allows(name, "team", action);
    assert!(!allows("bob", Action::Pull) && !allows("", Action::Pull) && allows("root", Action::Delete));
    for (role, push, delete) in
        [(Role::Guest, false, false), (Role::Developer, true, false), (Role::Maintainer, true, true)]
    {
        accounts.set_member("team", "bob", Some(role)).await.unwrap();
        assert!(allows("bob", Action::Pull));
        assert_eq!((allows("bob", Action::Push), allows("bob", Action::Delete)), (push, delete), "{role:?}");
    }
    accounts.change_user("bob", None, Some(true), None).await.unwrap();
    assert!(!allows("bob", Action::Pull) && accounts.password("bob").is_none());
    accounts
        .change_project("team", ProjectChange { public: Some(true), ..Default::default() })
        .await
        .unwrap();
    assert!(allows("", Action::Pull) && !allows("", Action::Push));
    accounts.remove_user("bob").await.unwrap();
    assert!(!accounts.project("team").unwrap().members.contains_key("bob"));
    let stored = tokio::task::spawn_blocking(move || store.reread(State::load).unwrap()).await.unwrap();
    assert_eq!(stored.projects, accounts.read().projects);
    assert_eq!(stored.users.len(), 1);
}

#[tokio::test]
async fn the_last_administrator_stays_one() {
    let (_store, accounts, _dir) = accounts().await;
    accounts.add_user("root", "password1", true).await.unwrap();
    assert!(accounts.remove_user("root").await.is_err());
    assert!(accounts.change_user("root", Some(false), None, None).await.is_err());
    assert!(accounts.change_user("root", None, Some(true), None).await.is_err());
    assert!(accounts.read().is_admin("root"));
}

#[tokio::test]
async fn robots_have_their_project_and_their_time() {
    let (_store, accounts, _dir) = accounts().await;
    accounts.add_project("team", false, "operator").await.unwrap();
    let made = accounts.add_robot("team", "ci", Role::Developer, None, "me").await.unwrap();
    assert_eq!(made.0, "team+ci");
    assert!(accounts.robot("team+ci", &made.1) && !accounts.robot("team+ci", "x"));
    let state = accounts.read().clone();
    assert!(
        state.allows("team+ci", "team", Action::Push) && !state.allows("team+ci", "team", Action::Delete)
    );
    assert!(!state.allows("team+ci", "other", Action::Pull));
    let past = Some(clock::now());
    assert!(accounts.add_robot("team", "old", Role::Guest, past, "me").await.is_err());
    assert!(accounts.add_robot("team", "boss", Role::Admin, None, "me").await.is_err());
    assert!(accounts.add_robot("none", "ci", Role::Guest, None, "me").await.is_err());
    let mut state = accounts.read().clone();
    state.robots.get_mut("team+ci").unwrap().expires = past;
    assert!(!state.allows("team+ci", "team", Action::Pull));
    accounts.remove_robot("team", "ci").await.unwrap();
    assert!(!accounts.robot("team+ci", &made.1));
}

#[tokio::test]
async fn names_and_passwords_are_checked_before_anything_happens() {
    let (_store, accounts, _dir) = accounts().await;
    for (name, password) in [("a+b", "password1"), ("A", "password1"), ("a/b", "password1"), ("a", "short")] {
        assert!(accounts.add_user(name, password, false).await.is_err(), "{name}");
    }
    accounts.add_user("a", "password1", true).await.unwrap();
    assert!(matches!(accounts.add_user("a", "password1", false).await, Err(Error::Conflict { .. })));
    assert!(accounts.add_project("a/b", true, "").await.is_err());
    assert_eq!(accounts.read().users.len(), 1);
}
