"""What a person looks at: colour and figures."""
