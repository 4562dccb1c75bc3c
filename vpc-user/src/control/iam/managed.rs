//! The managed policies of AWS that are known here. One that is not can be attached, and
//! grants nothing.
//! <https://docs.aws.amazon.com/aws-managed-policy/latest/reference/policy-list.html>

/// A policy by its ARN.
const POLICIES: &[(&str, &str)] = &[
    (
        "arn:aws:iam::aws:policy/AdministratorAccess",
        r#"{"Version": "2012-10-17",
            "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}"#,
    ),
    (
        "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole",
        r#"{"Version": "2012-10-17",
            "Statement": {"Effect": "Allow", "Resource": "*", "Action": [
                "logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"]}}"#,
    ),
    (
        "arn:aws:iam::aws:policy/service-role/AWSLambdaVPCAccessExecutionRole",
        r#"{"Version": "2012-10-17",
            "Statement": {"Effect": "Allow", "Resource": "*", "Action": [
                "logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents",
                "ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces",
                "ec2:DescribeSubnets", "ec2:DeleteNetworkInterface",
                "ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses"]}}"#,
    ),
    (
        "arn:aws:iam::aws:policy/service-role/AWSLambdaENIManagementAccess",
        r#"{"Version": "2012-10-17",
            "Statement": {"Effect": "Allow", "Resource": "*", "Action": [
                "ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces",
                "ec2:DeleteNetworkInterface",
                "ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses"]}}"#,
    ),
];

/// The document of a managed policy.
pub(super) fn document(arn: &str) -> Option<&'static str> {
    let (_, document) = POLICIES.iter().find(|(known, _)| *known == arn)?;
    Some(document)
}

#[cfg(test)]
pub(super) fn documents() -> impl Iterator<Item = &'static str> {
    POLICIES.iter().map(|(_, document)| *document)
}
