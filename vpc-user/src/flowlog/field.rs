//! The fields of a record.

/// What a field is in a file of columns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Type {
    /// A text.
    Text,
    /// A number of 32 bits.
    Int,
    /// A number of 64 bits.
    Long,
}

macro_rules! fields {
    ($($version:literal { $($field:ident = $name:literal $type:ident;)+ })+) => {
        /// A field: AWS's by version, and ours, whose names begin with `x-`.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[expect(missing_docs, reason = "documented at AWS under their names")]
        pub enum Field {
            $($($field,)+)+
        }

        impl Field {
            /// All of them, by version.
            pub const ALL: &[Self] = &[$($(Self::$field,)+)+];

            /// Its name in a format and at the head of a file.
            pub const fn name(self) -> &'static str {
                match self { $($(Self::$field => $name,)+)+ }
            }

            /// The version that brought it; 0: it is ours.
            pub const fn version(self) -> u8 {
                match self { $($(Self::$field => $version,)+)+ }
            }

            /// What it is.
            pub const fn column_type(self) -> Type {
                match self { $($(Self::$field => Type::$type,)+)+ }
            }
        }
    };
}

fields! {
    2 {
        Version = "version" Int;
        AccountId = "account-id" Text;
        InterfaceId = "interface-id" Text;
        SrcAddr = "srcaddr" Text;
        DstAddr = "dstaddr" Text;
        SrcPort = "srcport" Int;
        DstPort = "dstport" Int;
        Protocol = "protocol" Int;
        Packets = "packets" Long;
        Bytes = "bytes" Long;
        Start = "start" Long;
        End = "end" Long;
        Action = "action" Text;
        LogStatus = "log-status" Text;
    }
    3 {
        VpcId = "vpc-id" Text;
        SubnetId = "subnet-id" Text;
        InstanceId = "instance-id" Text;
        TcpFlags = "tcp-flags" Int;
        TrafficType = "type" Text;
        PktSrcAddr = "pkt-srcaddr" Text;
        PktDstAddr = "pkt-dstaddr" Text;
    }
    4 {
        Region = "region" Text;
        AzId = "az-id" Text;
        SublocationType = "sublocation-type" Text;
        SublocationId = "sublocation-id" Text;
    }
    5 {
        PktSrcAwsService = "pkt-src-aws-service" Text;
        PktDstAwsService = "pkt-dst-aws-service" Text;
        FlowDirection = "flow-direction" Text;
        TrafficPath = "traffic-path" Int;
    }
    7 {
        EcsClusterArn = "ecs-cluster-arn" Text;
        EcsClusterName = "ecs-cluster-name" Text;
        EcsContainerInstanceArn = "ecs-container-instance-arn" Text;
        EcsContainerInstanceId = "ecs-container-instance-id" Text;
        EcsContainerId = "ecs-container-id" Text;
        EcsSecondContainerId = "ecs-second-container-id" Text;
        EcsServiceName = "ecs-service-name" Text;
        EcsTaskDefinitionArn = "ecs-task-definition-arn" Text;
        EcsTaskArn = "ecs-task-arn" Text;
        EcsTaskId = "ecs-task-id" Text;
    }
    8 {
        RejectReason = "reject-reason" Text;
    }
    9 {
        ResourceId = "resource-id" Text;
    }
    10 {
        EncryptionStatus = "encryption-status" Int;
    }
    11 {
        InstanceTag = "instance-tag" Text;
        InstanceTag2 = "instance-tag-2" Text;
        InterfaceTag = "interface-tag" Text;
        InterfaceTag2 = "interface-tag-2" Text;
        AsgTag = "asg-tag" Text;
        AsgTag2 = "asg-tag-2" Text;
        InterfaceType = "interface-type" Text;
        NextHopInterfaceId = "next-hop-interface-id" Text;
        NextHopSubnetId = "next-hop-subnet-id" Text;
        NextHopAzId = "next-hop-az-id" Text;
        NextHopVpcId = "next-hop-vpc-id" Text;
        NextHopInterfaceType = "next-hop-interface-type" Text;
    }
    0 {
        FunctionArn = "x-function-arn" Text;
        FunctionVersion = "x-function-version" Text;
        EnvironmentId = "x-environment-id" Text;
        InsideAddr = "x-inside-addr" Text;
        InsidePort = "x-inside-port" Int;
        OutsidePort = "x-outside-port" Int;
        DropReason = "x-drop-reason" Text;
        SkippedPackets = "x-skipped-packets" Long;
    }
}

impl Field {
    /// The field of a name.
    pub fn named(name: &str) -> Option<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|field| field.name() == name)
    }
}
