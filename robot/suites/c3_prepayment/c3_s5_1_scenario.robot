*** Settings ***
Documentation       C3, scenario 5: the balance nears zero and the customer does not prepay again; its four outcomes.
...                 Step by step, in the catalogue's ids.
Library             ../../keywords/prepayment_meter.py
Library             ../../keywords/prepayment_head_end.py
Library             ../../keywords/prepayment_meter_data.py
Library             ../../keywords/prepayment_customer_service.py
Library             ../../keywords/prepayment_display.py
Library             ../../keywords/prepayment_balance.py    customer=website
Test Setup          The Site Is Provisioned
Test Teardown       The Site Draws What It Is Provisioned With


*** Test Cases ***
Demand Is Limited At Zero
    [Tags]    C3-S5    C3-MSG-13    C3-MSG-15    C3-MSG-16    C3-MSG-17
    The Customer Has Chosen For Zero    limit
    The Balance Nears Zero
    Demand Is Limited    C3-S5.08

Service Is Disconnected At Zero
    [Tags]    C3-S5    C3-MSG-13    C3-MSG-15    C3-MSG-16    C3-MSG-17
    The Customer Has Chosen For Zero    disconnect
    The Balance Nears Zero
    Service Is Disconnected    C3-S5.08

The Account Moves To Regular Billing At Zero
    [Tags]    C3-S5    C3-MSG-13    C3-MSG-15    C3-MSG-16    C3-MSG-17
    The Customer Has Chosen For Zero    regular_billing
    The Balance Nears Zero
    Account Moves To Regular Billing    C3-S5.08

The Account Is Replenished At Zero
    [Tags]    C3-S5    C3-MSG-13    C3-MSG-15    C3-MSG-16
    The Customer Has Agreed On Automatic Payments    2500    card_declined_once
    The Customer Has Chosen For Zero    auto_replenish    disconnect
    The Balance Nears Zero
    Account Is Replenished    2500


*** Keywords ***
The Balance Nears Zero
    [Documentation]    C3-S5.01 to C3-S5.07, the same for every outcome.
    The Display Has Joined    1 minute
    The Customer Has Service Left For    50 hours
    CSS Determines That The Threshold Is Reached    C3-S5.01
    ADCS Sends The Balance Every Interval    C3-S5.02    3
    The Message Carries Balance Time Left And Moment Of Zero
    Meter Logs And Displays Each Refresh    C3-S5.03
    ADCS Passes The Receipts To The MDMS
    MDMS Makes The Receipts Available
    Display Device Shows The Refresh    C3-S5.06
    Balance Reaches Zero
