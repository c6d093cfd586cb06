# Terraform: a table for the tokens of a fleet, and what its hosts' role needs. See docs/stores.md.

variable "table_name" {
  type    = string
  default = "datakey-pkcs11"
}

resource "aws_dynamodb_table" "datakey_pkcs11" {
  name                        = var.table_name
  billing_mode                = "PAY_PER_REQUEST"
  deletion_protection_enabled = true
  hash_key                    = "pk"
  range_key                   = "sk"

  attribute {
    name = "pk"
    type = "S"
  }

  attribute {
    name = "sk"
    type = "B"
  }

  point_in_time_recovery {
    enabled = true
  }

  ttl {
    attribute_name = "ttl"
    enabled        = true
  }

  # What is lost here is lost for good: the keys in it are nowhere else.
  lifecycle {
    prevent_destroy = true
  }
}

data "aws_iam_policy_document" "datakey_pkcs11" {
  statement {
    sid = "UseOneTableForPkcs11"
    actions = [
      "dynamodb:BatchGetItem",
      "dynamodb:BatchWriteItem",
      "dynamodb:DeleteItem",
      "dynamodb:GetItem",
      "dynamodb:PutItem",
      "dynamodb:Query",
    ]
    resources = [aws_dynamodb_table.datakey_pkcs11.arn]
  }
}

output "store" {
  value = "dynamodb:${aws_dynamodb_table.datakey_pkcs11.name}"
}

output "policy" {
  value = data.aws_iam_policy_document.datakey_pkcs11.json
}
