# An AMI of which every file was put on its disk by surrogate.sh, which runs on another one.
variable "endpoint" {
  type = string
}

variable "region" {
  type    = string
  default = "us-east-1"
}

source "amazon-ebssurrogate" "surrogate" {
  custom_endpoint_ec2 = var.endpoint
  region              = var.region
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
  launch_block_device_mappings {
    device_name           = "/dev/xvdf"
    volume_type           = "gp2"
    volume_size           = 3
    delete_on_termination = true
  }
  ami_root_device {
    source_device_name    = "/dev/xvdf"
    device_name           = "/dev/xvda"
    volume_type           = "gp2"
    volume_size           = 3
    delete_on_termination = true
  }
  ami_virtualization_type = "hvm"
  ami_name                = "surrogate-${formatdate("YYYYMMDDhhmmss", timestamp())}"
  tags = {
    Name = "surrogate"
  }
}

build {
  sources = ["source.amazon-ebssurrogate.surrogate"]

  provisioner "shell" {
    execute_command = "sudo env {{ .Vars }} sh {{ .Path }}"
    script          = "${path.root}/surrogate.sh"
  }
}
