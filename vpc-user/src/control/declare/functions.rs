//! Roles, functions and their aliases.

use serde_json::{Value, json};

use super::{Work, object, text};
use crate::{
    config::{RawFunction, RawRole},
    control::{
        ApiError, Kind,
        resource::{Alias, Function, LATEST, Role},
    },
};

const LAMBDA: &str = "lambda";
const IAM: &str = "iam";

/// Who may assume a role of which the file does not say it.
const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;

impl Work<'_, '_, '_> {
    pub(super) fn roles(&mut self, roles: &[RawRole]) -> Result<(), ApiError> {
        roles.iter().try_for_each(|role| self.role(role))
    }

    fn role(&mut self, role: &RawRole) -> Result<(), ApiError> {
        let name = role.name.as_str();
        let of = object(Kind::Role, name);
        let trust = role.trust.as_deref().unwrap_or(TRUST);
        let id = match self.id(Kind::Role, name) {
            Some(id) => id.to_owned(),
            None => {
                let members = json!({ "RoleName": name, "AssumeRolePolicyDocument": trust });
                let answer = self.send(&of, (IAM, "CreateRole"), members)?;
                let id = text(&answer, "/Role/Arn")?;
                self.created(Kind::Role, name, &id);
                id
            }
        };
        let Some(is) = self.transaction.get::<Role>(&id).cloned() else {
            return Ok(());
        };
        if is.assume_role_policy_document != trust {
            let members = json!({ "RoleName": name, "PolicyDocument": trust });
            self.send(&of, (IAM, "UpdateAssumeRolePolicy"), members)?;
            self.changed(Kind::Role, name, "who may assume it");
        }
        let wanted = || role.managed.iter().map(|policy| managed_arn(policy));
        for policy in wanted().filter(|policy| !is.attached_policies.contains(policy)) {
            self.policy(
                name,
                "AttachRolePolicy",
                json!({ "PolicyArn": policy }),
                "with",
                &policy,
            )?;
        }
        for policy in &is.attached_policies {
            if !wanted().any(|wanted| wanted == *policy) {
                let members = json!({ "PolicyArn": policy });
                self.policy(name, "DetachRolePolicy", members, "without", policy)?;
            }
        }
        for (policy, document) in &role.policy {
            if is.policies.get(policy) != Some(document) {
                let members = json!({ "PolicyName": policy, "PolicyDocument": document });
                self.policy(name, "PutRolePolicy", members, "with", policy)?;
            }
        }
        for policy in is
            .policies
            .keys()
            .filter(|policy| !role.policy.contains_key(*policy))
        {
            let members = json!({ "PolicyName": policy });
            self.policy(name, "DeleteRolePolicy", members, "without", policy)?;
        }
        Ok(())
    }

    fn policy(
        &mut self,
        role: &str,
        action: &str,
        mut members: Value,
        how: &str,
        policy: &str,
    ) -> Result<(), ApiError> {
        members["RoleName"] = json!(role);
        self.send(&object(Kind::Role, role), (IAM, action), members)?;
        self.changed(Kind::Role, role, format!("{how} policy {policy}"));
        Ok(())
    }

    pub(super) fn functions(&mut self, functions: &[RawFunction]) -> Result<(), ApiError> {
        functions
            .iter()
            .try_for_each(|function| self.function(function))
    }

    fn function(&mut self, function: &RawFunction) -> Result<(), ApiError> {
        let name = function.name.as_str();
        let of = object(Kind::Function, name);
        let wanted = self.members(function)?;
        let id = Function::id_of(self.account(), name, LATEST);
        match self.transaction.get::<Function>(&id).cloned() {
            None => {
                let mut members = wanted;
                if function.subnets.is_empty() {
                    members["VpcConfig"] = Value::Null;
                }
                self.send(&of, (LAMBDA, "CreateFunction"), members)?;
                self.created(Kind::Function, name, &id);
            }
            Some(is) => {
                let changed = changed(&is, &wanted);
                if !changed.is_empty() {
                    self.send(&of, (LAMBDA, "UpdateFunctionConfiguration"), wanted)?;
                    self.changed(Kind::Function, name, changed.join(", "));
                }
            }
        }
        for (alias, version) in &function.alias {
            self.alias(name, alias, version)?;
        }
        Ok(())
    }

    /// The members of a request that make a function as the file has it.
    fn members(&self, function: &RawFunction) -> Result<Value, ApiError> {
        let ids = |kind, names: &[String]| {
            let ids = names.iter().map(|name| self.known(kind, name));
            let ids: Result<Vec<String>, ApiError> = ids.collect();
            ids.map(|mut ids| {
                ids.sort();
                ids
            })
        };
        let role = match &function.role {
            arn if arn.starts_with("arn:") => arn.clone(),
            name => self.known(Kind::Role, name)?,
        };
        let mut members = json!({
            "FunctionName": function.name,
            "Role": role,
            "VpcConfig": {
                "SubnetIds": ids(Kind::Subnet, &function.subnets)?,
                "SecurityGroupIds": ids(Kind::SecurityGroup, &function.security_groups)?,
            },
        });
        let settings = [
            ("Description", function.description.clone().map(Value::from)),
            ("Runtime", function.runtime.clone().map(Value::from)),
            ("Handler", function.handler.clone().map(Value::from)),
            ("MemorySize", function.memory.map(Value::from)),
            ("Timeout", function.timeout.map(Value::from)),
        ];
        for (key, value) in settings {
            if let Some(value) = value {
                members[key] = value;
            }
        }
        Ok(members)
    }

    fn alias(&mut self, function: &str, alias: &str, version: &str) -> Result<(), ApiError> {
        let name = format!("{function}:{alias}");
        let of = object(Kind::Alias, &name);
        let members = json!({
            "FunctionName": function, "Name": alias, "FunctionVersion": version,
        });
        let id = Function::id_of(self.account(), function, alias);
        match self.transaction.get::<Alias>(&id) {
            None => {
                self.send(&of, (LAMBDA, "CreateAlias"), members)?;
                self.created(Kind::Alias, &name, &id);
            }
            Some(is) if is.function_version == version => {}
            Some(_) => {
                self.send(&of, (LAMBDA, "UpdateAlias"), members)?;
                self.changed(Kind::Alias, &name, format!("version {version}"));
            }
        }
        Ok(())
    }
}

/// The ARN of a managed policy that is named without one.
fn managed_arn(policy: &str) -> String {
    if policy.starts_with("arn:") {
        return policy.to_owned();
    }
    let path = if policy.starts_with("AWSLambda") {
        "service-role/"
    } else {
        ""
    };
    format!("arn:aws:iam::aws:policy/{path}{policy}")
}

/// What of a function is not as wanted.
fn changed(is: &Function, wanted: &Value) -> Vec<&'static str> {
    let has = serde_json::to_value(&is.settings).unwrap_or_default();
    let mut changed = Vec::new();
    for (key, word) in [
        ("Description", "description"),
        ("Runtime", "runtime"),
        ("Handler", "handler"),
        ("MemorySize", "memory"),
        ("Timeout", "timeout"),
    ] {
        if wanted
            .get(key)
            .is_some_and(|value| has.get(key) != Some(value))
        {
            changed.push(word);
        }
    }
    if wanted["Role"] != json!(is.role) {
        changed.push("role");
    }
    let ids = |list: &[crate::control::Id]| {
        let mut ids: Vec<String> = list.iter().map(ToString::to_string).collect();
        ids.sort();
        ids
    };
    let attached = is.vpc_config.as_ref();
    let subnets = attached.map_or_else(Vec::new, |config| ids(&config.subnet_ids));
    let groups = attached.map_or_else(Vec::new, |config| ids(&config.security_group_ids));
    let config = &wanted["VpcConfig"];
    if config["SubnetIds"] != json!(subnets) {
        changed.push("subnets");
    }
    if config["SecurityGroupIds"] != json!(groups) {
        changed.push("security groups");
    }
    changed
}
