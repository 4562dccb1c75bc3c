"""Reads a flow log's two files with the tools of others.

Arguments: the text file, the Parquet file, and the key of each in a bucket, without its
ending. Prints a line a record: reader, file, then `column=value`; what is not there is `-`.
"""

import gzip
import sys
from calendar import timegm
from datetime import datetime
from io import BytesIO

import pyarrow.parquet
from flowlogs_reader import S3FlowLogsReader


class Bucket:
    """As much of a bucket as the reader asks for."""

    def __init__(self, key, body):
        self.key, self.body = key, body

    def list_objects_v2(self, Bucket, Delimiter, Prefix):
        assert self.key.startswith(Prefix), (self.key, Prefix)
        part = self.key[len(Prefix) :].split(Delimiter)[0]
        return {"CommonPrefixes": [{"Prefix": Prefix + part + Delimiter}]}

    def get_paginator(self, name):
        assert name == "list_objects_v2"
        return self

    def paginate(self, Bucket, Prefix):
        found = [{"Key": self.key}] if self.key.startswith(Prefix) else []
        return [{"Contents": found}]

    def get_object(self, Bucket, Key):
        assert Key == self.key
        return {"Body": BytesIO(self.body), "ContentLength": len(self.body)}


def show(reader, kind, columns):
    def text(value):
        if isinstance(value, datetime):
            value = timegm(value.utctimetuple())
        return "-" if value is None else str(value)

    print(reader, kind, *(f"{name}={text(value)}" for name, value in columns))


def main():
    text, parquet, key = sys.argv[1:]
    with gzip.open(text, "rt") as file:
        names = file.readline().strip().replace("-", "_").split(" ")
    table = pyarrow.parquet.read_table(parquet)
    print("pyarrow", "schema", *(f"{it.name}={it.type}" for it in table.schema))
    for row in table.to_pylist():
        show("pyarrow", "parquet", row.items())
    for kind, path, ending in [("text", text, ".log.gz"), ("parquet", parquet, ".log.parquet")]:
        with open(path, "rb") as file:
            bucket = Bucket(key + ending, file.read())
        reader = S3FlowLogsReader(
            "bucket",
            start_time=datetime(2021, 5, 4),
            end_time=datetime(2021, 5, 5),
            boto_client=bucket,
            raise_on_error=True,
        )
        for record in reader:
            known = (name for name in names if name in record.__slots__)
            show("flowlogs-reader", kind, ((name, getattr(record, name)) for name in known))
        assert reader.skipped_records == 0


main()
