// Posts the answer of a sign-in to the application that requested it.
document.getElementById("answer").submit();
