# nginx on Debian 12, encrypted, with a copy in a second region.
variable "endpoint" {
  type = string
}

variable "region" {
  type    = string
  default = "us-east-1"
}

variable "copy_to" {
  type    = string
  default = "us-east-2"
}

source "amazon-ebs" "web" {
  custom_endpoint_ec2 = var.endpoint
  region              = var.region
  ami_regions         = [var.copy_to]
  encrypt_boot        = true
  source_ami_filter {
    filters = {
      name                = "debian-12-amd64-*"
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
    owners      = ["136693071363"]
    most_recent = true
  }
  instance_type = "t3.micro"
  ssh_username  = "debian"
  ami_name      = "web-${formatdate("YYYYMMDDhhmmss", timestamp())}"
  tags = {
    Name = "web"
    Made = "by HCL2"
  }
}

build {
  sources = ["source.amazon-ebs.web"]

  provisioner "shell" {
    inline = [
      "cloud-init status --wait",
      "sudo apt-get update -q",
      "sudo DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends nginx",
      "echo 'made by Packer' | sudo tee /var/www/html/index.html",
    ]
  }
}
