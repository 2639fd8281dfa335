"""What only Amazon ECR has: passwords, repositories made by template, layers in bulk."""
